import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApplyEditsResult } from "../../src/protocol";
import { explain, filesOf, parseEdits, pinned } from "../../src/workspaceEdits";

const result: ApplyEditsResult = { applied: false, dryRun: true, durability: "full", origin: "o", files: [] };

void test("edits are read from JSON, and what is none is told", () => {
  assert.deepEqual(parseEdits('{"changes": {}}'), { changes: {} });
  assert.throws(() => parseEdits("fn main"), /This is not JSON/);
  assert.throws(() => parseEdits("[]"), /These are no edits/);
  assert.throws(() => parseEdits("null"), /These are no edits/);
});

void test("every file of a request is named once", () => {
  const uris = filesOf({
    documentChanges: [
      { textDocument: { uri: "a" }, edits: [] },
      { kind: "rename", oldUri: "a", newUri: "b" },
      { kind: "create", uri: "c" },
      { kind: "delete", uri: "d" },
    ],
    changes: { e: [] },
  });
  assert.deepEqual(uris, ["a", "b", "c", "d", "e"]);
});

void test("what a dry run has seen becomes the guard of the request, beside the guards it had", () => {
  const dryRun: ApplyEditsResult = {
    ...result,
    files: [
      { uri: "a", status: "wouldApply", oldContentHash: "hash a" },
      { uri: "new", status: "wouldApply", newContentHash: "hash new" },
      { uri: "to", oldUri: "from", status: "wouldApply", oldContentHash: "hash from" },
      { uri: "same", status: "unchanged", oldContentHash: "hash same" },
    ],
  };
  const { expected, dryRun: stillDry } = pinned({ dryRun: true, expected: { a: { version: 3 }, to: { contentHash: "x" } } }, dryRun);
  assert.equal(stillDry, false);
  assert.deepEqual(expected, {
    a: { version: 3, contentHash: "hash a" },
    from: { contentHash: "hash from" },
    to: { contentHash: "x" },
  });
});

void test("a failure is explained once, with what is wrong with each file", () => {
  const error = { kind: "notFound", severity: "fatal", message: "a: gone" } as const;
  const failed: ApplyEditsResult = { ...result, failureReason: "a: gone", files: [{ uri: "a", status: "error", error }] };
  assert.equal(explain(failed), "a: gone");
});
