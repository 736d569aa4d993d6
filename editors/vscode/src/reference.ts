import type { SnippetQuery, SnippetText } from "./protocol";

/** A query that holds as long as the file is the one the snippet was read from. */
export function snippetReference(snippet: SnippetText): string {
  const query: SnippetQuery = {
    uri: snippet.uri,
    range: snippet.byteRange,
    expected: { contentHash: snippet.contentHash },
    expectedText: snippet.text,
  };
  return JSON.stringify(query, undefined, 2);
}
