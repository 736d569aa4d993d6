import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { serverBinary } from "../binary.mjs";
import { parseTranscript, replay } from "./transcript";

const FOLDER = path.resolve("../../tests/it/transcripts");
/** What an editor does: framing and other things below a client library are left to the server's own tests. */
const KINDS = /^(cancel|documents?|edit|encoding|events|roots|scan|snippets|status|undo)[_.]/;
/** Fewer would mean that the format has changed. */
const AT_LEAST = 60;

void test("the project's transcripts hold through the library that the extension uses", async (all) => {
  const binary = serverBinary();
  let replayed = 0;
  for (const name of fs.readdirSync(FOLDER).filter((name) => KINDS.test(name))) {
    const steps = parseTranscript(fs.readFileSync(path.join(FOLDER, name), "utf8"));
    if (steps !== undefined) {
      await all.test(name, () => replay(binary, steps));
      replayed++;
    }
  }
  assert.ok(replayed >= AT_LEAST, `only ${replayed} transcripts were replayed`);
});
