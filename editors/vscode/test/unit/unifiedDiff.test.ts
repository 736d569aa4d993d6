import assert from "node:assert/strict";
import { test } from "node:test";
import { applyHunks, parseUnifiedDiff } from "../../src/unifiedDiff";

/** The new text of the only file of a diff. */
function applied(old: string, diff: string): string {
  const [file, ...more] = parseUnifiedDiff(diff);
  assert.ok(file && more.length === 0);
  return applyHunks(old, file.hunks);
}

void test("hunks are applied where they belong, and what is between them stays", () => {
  const old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
  const diff = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-1\n+one\n 2\n@@ -8,2 +8,3 @@\n 8\n 9\n+10\n";
  assert.equal(applied(old, diff), "one\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
});

void test("a missing newline at the end is kept, taken away and added", () => {
  const cut = "\\ No newline at end of file\n";
  assert.equal(applied("a", `--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n${cut}+b\n${cut}`), "b");
  assert.equal(applied("a\n", `--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+a\n${cut}`), "a");
  assert.equal(applied("a", `--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n${cut}+a\n`), "a\n");
});

void test("carriage returns belong to their lines", () => {
  assert.equal(applied("a\r\nb\rc\r\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\r\n+A\r\n b\rc\r\n"), "A\r\nb\rc\r\n");
});

void test("created, deleted and emptied files have one empty side", () => {
  const [created, deleted, empty] = parseUnifiedDiff(
    "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1,2 @@\n+a\n+b\n" +
      "diff --git a/old b/old\ndeleted file mode 100644\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n" +
      "diff --git a/empty b/empty\nnew file mode 100644\n--- /dev/null\n+++ b/empty\n",
  );
  assert.ok(created && deleted && empty);
  assert.deepEqual([created.oldPath, created.newPath], [undefined, "new"]);
  assert.equal(applyHunks("", created.hunks), "a\nb\n");
  assert.deepEqual([deleted.oldPath, deleted.newPath], ["old", undefined]);
  assert.equal(applyHunks("x\n", deleted.hunks), "");
  assert.deepEqual(empty, { oldPath: undefined, newPath: "empty", hunks: [] });
});

void test("an insertion after a line stands after it", () => {
  assert.equal(applied("a\nb\n", "--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+x\n"), "a\nx\nb\n");
});

void test("renamed files have both names, with and without edits", () => {
  const [edited, moved] = parseUnifiedDiff(
    "diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-1\n+2\n" +
      "diff --git a/p b/q\nrename from p\nrename to q\n",
  );
  assert.deepEqual([edited?.oldPath, edited?.newPath, edited?.hunks.length], ["x", "y", 1]);
  assert.deepEqual([moved?.oldPath, moved?.newPath, moved?.hunks.length], ["p", "q", 0]);
});

void test("lines that look like headers are text inside of a hunk", () => {
  assert.equal(applied("-- x\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n--- x\n+++ y\n"), "++ y\n");
});

void test("names with spaces, quotes and other bytes are read as git writes them", () => {
  const [spaced, quoted] = parseUnifiedDiff(
    '--- a/a b\t\n+++ b/a b\t\n@@ -1 +1 @@\n-1\n+2\n--- "a/\\303\\251\\"x"\n+++ "b/\\303\\251\\"x"\n@@ -1 +1 @@\n-1\n+2\n',
  );
  assert.equal(spaced?.newPath, "a b");
  assert.equal(quoted?.newPath, 'é"x');
});

void test("an old text that the diff was not made for is refused", () => {
  assert.throws(() => applied("other\n", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"), /line 1/);
});

void test("what is no diff is refused", () => {
  assert.throws(() => parseUnifiedDiff("hello\n"), /not a line of a unified diff/);
  assert.throws(() => parseUnifiedDiff("--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n-1\n"), /not a line of a hunk/);
});
