import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApplyEditsResult, FileResult } from "../../src/protocol";
import { canBeUndone, explain, filesOf, parseEdits, pinned, whyNoUndo } from "../../src/workspaceEdits";

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

void test("an undo is offered for what went to disk, unless the server has said that it keeps none", () => {
  const written: FileResult = { uri: "a", status: "applied" };
  const inBuffer: FileResult = { uri: "b", status: "applied", appliedTo: "buffer" };
  const warned = (kind: "undoNotKept" | "writtenInPlace"): FileResult => ({
    ...written,
    warnings: [{ kind, severity: "warning", message: kind }],
  });
  const cases: [boolean, string | undefined, FileResult[]][] = [
    [true, undefined, [written]],
    [true, undefined, [warned("writtenInPlace")]],
    [false, undefined, [inBuffer]],
    [false, undefined, [{ uri: "c", status: "unchanged" }]],
    [false, "undoNotKept", [warned("undoNotKept")]],
    [false, "undoNotKept", [written, warned("undoNotKept")]],
  ];
  for (const [undoable, reason, files] of cases) {
    assert.equal(canBeUndone({ ...result, applied: true, files }), undoable, JSON.stringify(files));
    assert.equal(whyNoUndo({ ...result, applied: true, files }), reason, JSON.stringify(files));
  }
});
