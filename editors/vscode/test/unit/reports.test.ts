import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusResult } from "../../src/protocol";
import { snippetReference } from "../../src/reference";
import { statusReport } from "../../src/status";

void test("the status names what a person looks for", () => {
  const status: StatusResult = {
    version: "1.2.3",
    uptimeMs: 3_725_000,
    roots: ["file:///projects"],
    requests: { "ploke/scan": { count: 3, errors: 1, p50Us: 950, p99Us: 2_500_000 } },
    watch: { backend: "poll", state: "polling", watches: 0, limit: null, pending: 4, overflows: 0, dropped: 0, reason: "out of watches" },
    cache: { entries: 2, bytes: 2048, hits: 1, misses: 1 },
    locks: 0,
    writes: { applied: 5, bytes: 12, recovered: { finished: 1, leftAlone: 0, setAside: 0 } },
  };
  const report = statusReport(status, 77, ["ploke/scan"]);
  for (const part of ["1.2.3, process 77, up 1 h 2 min", "polling (poll): out of watches", "4 changes pending", "2.0 KiB", "950 µs", "2.5 s"]) {
    assert.ok(report.includes(part), `${part} is missing in\n${report}`);
  }
});

void test("a reference is a query that holds for the very bytes that were read", () => {
  const range = { startByte: 1, endByte: 3 };
  const reference: unknown = JSON.parse(snippetReference({ uri: "u", source: "disk", text: "bc", byteRange: range, contentHash: "h" }));
  assert.deepEqual(reference, { uri: "u", range, expected: { contentHash: "h" }, expectedText: "bc" });
});
