import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { test } from "node:test";

void test("whatever the README links to comes with the package", () => {
  const packaged = execFileSync("node_modules/.bin/vsce", ["ls", "--no-dependencies"], { encoding: "utf8" }).split("\n");
  const targets = [...fs.readFileSync("README.md", "utf8").matchAll(/\]\(([^)#]+)\)/g)].map(([, target = ""]) => target);
  const relative = targets.filter((target) => !target.startsWith("https://"));
  assert.ok(relative.includes("images/screenshot.png"), "the links were not found");
  assert.deepEqual(relative.filter((target) => !packaged.includes(target)), []);
});
