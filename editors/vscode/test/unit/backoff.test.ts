import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/backoff";

void test("each crash doubles the wait, up to half a minute", () => {
  const backoff = new Backoff();
  const waits = Array.from({ length: 8 }, () => backoff.next(10));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.equal(backoff.inARow, 8);
});

void test("a server that ran for a minute starts anew without a long wait", () => {
  const backoff = new Backoff();
  backoff.next(10);
  backoff.next(10);
  assert.equal(backoff.next(60_000), 500);
  assert.equal(backoff.inARow, 1);
});
