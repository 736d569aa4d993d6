import assert from "node:assert/strict";
import { test } from "node:test";
import { reportOf, summaryOf, UNKNOWN_HASH } from "../../src/scan";
import type { ScannedFile } from "../../src/protocol";

const hash = (letter: string): string => letter.repeat(64);

function scanned(uri: string, status: "changed" | "unchanged" | "missing", now?: string): ScannedFile {
  return { uri, status, old: {}, ...(now !== undefined && { new: { contentHash: now } }) };
}

const unreadable: ScannedFile = { uri: "locked", status: "error", error: { kind: "permissionDenied", severity: "fatal", message: "no" } };

void test("a scan tells changed, new, missing and unreadable files apart", () => {
  const before = { same: hash("a"), other: hash("b"), gone: hash("c"), locked: hash("d") };
  const report = reportOf(before, [
    scanned("same", "unchanged", hash("a")),
    scanned("other", "changed", hash("e")),
    scanned("gone", "missing"),
    scanned("added", "changed", hash("f")),
    unreadable,
  ]);
  assert.deepEqual(report.changed, ["other"]);
  assert.deepEqual(report.added, ["added"]);
  assert.deepEqual(report.missing, ["gone"]);
  assert.deepEqual(report.failed, [{ uri: "locked", message: "no" }]);
  assert.deepEqual(report.known, { same: hash("a"), other: hash("e"), added: hash("f"), locked: hash("d") });
  assert.equal(summaryOf(report, false), "Scanned 5 files since the last scan: 1 changed, 1 new, 1 missing, 1 not readable.");
});

void test("the first scan tells only how many files there are", () => {
  const report = reportOf({}, [scanned("a", "changed", hash("a"))]);
  assert.equal(summaryOf(report, true), "Scanned 1 file; the next scan tells what has changed.");
  assert.equal(UNKNOWN_HASH.length, 64);
});
