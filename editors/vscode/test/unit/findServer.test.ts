import assert from "node:assert/strict";
import { test } from "node:test";
import { findServer, type Places } from "../../src/findServer";

function places(there: string[], more: Partial<Places> = {}): Places {
  return {
    configured: "",
    workspaceFolder: "/projects",
    extensionFolder: "/ext",
    home: "/home/me",
    searchPath: "/usr/bin:relative:/opt/bin",
    platform: "linux",
    isExecutable: (file) => there.includes(file),
    ...more,
  };
}

void test("the setting goes before the bundled program, and that before the PATH", () => {
  const there = ["/mine", "/ext/bin/ploke-io", "/opt/bin/ploke-io"];
  assert.deepEqual(findServer(places(there, { configured: "/mine" })), { file: "/mine", from: "setting" });
  assert.deepEqual(findServer(places(there)), { file: "/ext/bin/ploke-io", from: "extension" });
  assert.deepEqual(findServer(places(there.slice(2))), { file: "/opt/bin/ploke-io", from: "PATH" });
});

void test("a setting that leads nowhere is told, although there is a program on the PATH", () => {
  const found = findServer(places(["/opt/bin/ploke-io"], { configured: "/gone" }));
  assert.ok("missing" in found && found.missing.includes("/gone"));
});

void test("home, workspace folder and relative paths are understood in the setting", () => {
  const cases = [
    ["~/bin/p", "/home/me/bin/p"],
    ["${workspaceFolder}/target/p", "/projects/target/p"],
    ["target/p", "/projects/target/p"],
  ] as const;
  for (const [configured, file] of cases) {
    assert.deepEqual(findServer(places([file], { configured })), { file, from: "setting" });
  }
});

void test("without any program the message says where it was looked for", () => {
  const found = findServer(places([]));
  assert.ok("missing" in found && found.missing.includes("PATH"));
});

void test("relative folders of the PATH are not searched", () => {
  assert.ok("missing" in findServer(places(["relative/ploke-io"])));
});
