import assert from "node:assert/strict";
import { test } from "node:test";
import { RecentChanges, TextCache, whoMade } from "../../src/changes";
import type { FileChange } from "../../src/protocol";

const outside: FileChange = { uri: "file:///a", kind: "modified", requestId: null, origin: null };

void test("a change is attributed to a request, another client or somebody outside", () => {
  const labels = new Map([["o1", "rename"]]);
  assert.equal(whoMade({ ...outside, requestId: 7, origin: "o1" }, labels), "request: rename");
  assert.equal(whoMade({ ...outside, requestId: 7, origin: "o2" }, labels), "request: 7");
  const by = { client: "nvim", pid: 12 };
  assert.equal(whoMade({ ...outside, origin: "o3", by }, labels), "other client: nvim (12)");
  assert.equal(whoMade({ ...outside, origin: "o3" }, labels), "other client");
  assert.equal(whoMade(outside, labels), "outside");
});

void test("the newest changes stand first, and the oldest go", () => {
  const recent = new RecentChanges(2);
  for (const name of ["a", "b", "c"]) {
    recent.add({ change: { ...outside, uri: name }, at: new Date(0), before: undefined });
  }
  assert.deepEqual(recent.all.map(({ change }) => change.uri), ["c", "b"]);
  recent.setLimit(1);
  assert.deepEqual(recent.all.map(({ id }) => id), [3]);
});

void test("kept texts are bounded in size, the oldest go first", () => {
  const texts = new TextCache(10);
  texts.set("a", "12345");
  texts.set("b", "12345");
  texts.set("a", "1234");
  texts.set("c", "12");
  assert.deepEqual(["a", "b", "c"].map((uri) => texts.get(uri)), ["1234", undefined, "12"]);
  texts.set("c", "far too long");
  assert.equal(texts.get("c"), undefined);
  texts.delete("a");
  texts.set("d", "1234567890");
  assert.equal(texts.get("d"), "1234567890");
});
