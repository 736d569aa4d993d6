import assert from "node:assert/strict";
import { test } from "node:test";
import { codeBlock, codeSpan, editParams, shortened, snippetQueries, uriOf } from "../../src/toolInput";

const one = [{ name: "app", path: "/projects/app" }];
const two = [...one, { name: "lib", path: "/other/lib" }];

void test("paths are understood as a model writes them", () => {
  assert.equal(uriOf("src/a b.rs", one), "file:///projects/app/src/a%20b.rs");
  assert.equal(uriOf("app/x", one), "file:///projects/app/app/x");
  assert.equal(uriOf("lib/x", two), "file:///other/lib/x");
  assert.equal(uriOf("src/x", two), "file:///projects/app/src/x");
  assert.equal(uriOf("/abs/x#y", two), "file:///abs/x%23y");
  assert.equal(uriOf("file:///u", []), "file:///u");
  assert.throws(() => uriOf("x", []), /no folder is open/);
});

void test("lines from 1 become whole lines of the protocol", () => {
  const [lines, byText] = snippetQueries({ snippets: [{ path: "a", startLine: 2, endLine: 3 }, { path: "a", text: "x", contentHash: "h" }] }, one);
  assert.deepEqual(lines?.range, { start: { line: 1, character: 0 }, end: { line: 2, character: 0x7fff_ffff } });
  assert.deepEqual([byText?.range, byText?.expectedText, byText?.expected], [undefined, "x", { contentHash: "h" }]);
});

void test("each kind of change becomes one of the protocol, with its guard", () => {
  const { label, documentChanges } = editParams(
    {
      label: "l",
      changes: [
        { path: "a", contentHash: "h", edits: [{ startByte: 1, newText: "x" }, { oldText: "y", newText: "z" }] },
        { path: "b", create: "" },
        { path: "c", renameTo: "d", contentHash: "h" },
        { path: "e", delete: true, contentHash: "h" },
      ],
    },
    one,
  );
  const expected = { contentHash: "h" };
  const at = (name: string): string => `file:///projects/app/${name}`;
  assert.equal(label, "l");
  assert.deepEqual(documentChanges, [
    {
      textDocument: { uri: at("a") },
      expected,
      edits: [{ newText: "x", range: { startByte: 1, endByte: 1 } }, { newText: "z", expectedText: "y" }],
    },
    { kind: "create", uri: at("b"), text: "", options: { createParents: true } },
    { kind: "rename", oldUri: at("c"), newUri: at("d"), expected },
    { kind: "delete", uri: at("e"), expected },
  ]);
});

void test("a change that is none, or two at once, is refused", () => {
  assert.throws(() => editParams({ changes: [{ path: "a" }] }, one), /exactly one/);
  assert.throws(() => editParams({ changes: [{ path: "a", create: "", delete: true }] }, one), /exactly one/);
  assert.throws(() => editParams({ changes: [{ path: "a", delete: false }] }, one), /exactly one/);
});

void test("no text breaks out of its Markdown", () => {
  assert.equal(codeSpan("a"), "`a`");
  assert.equal(codeSpan("a`b"), "`` a`b ``");
  assert.equal(codeBlock("diff", "+```\n"), "````diff\n+```\n````");
  assert.equal(shortened("12345", 3), "123\n… (2 more characters)");
});
