import * as path from "node:path";
import { pathToFileURL } from "node:url";
import type { ApplyEditsParams, DocumentChange, Expected, SnippetQuery, TextEdit } from "./protocol";

/** A workspace folder, by its name in the editor. */
export interface Folder {
  name: string;
  path: string;
}

export interface ReadInput {
  snippets: {
    path: string;
    /** From 1. */
    startLine?: number;
    /** From 1, inclusive. */
    endLine?: number;
    text?: string;
    contentHash?: string;
  }[];
}

export interface EditInput {
  label?: string;
  changes: {
    path: string;
    contentHash?: string;
    edits?: { oldText?: string; startByte?: number; endByte?: number; newText: string }[];
    create?: string;
    renameTo?: string;
    delete?: boolean;
  }[];
}

export interface ChangesInput {
  limit?: number;
}

/** LSP takes a character beyond the line's end for the line's end. */
const LINE_END = 0x7fff_ffff;

export function snippetQueries(input: ReadInput, folders: readonly Folder[]): SnippetQuery[] {
  return input.snippets.map(({ path: file, startLine, endLine, text, contentHash }) => {
    const query: SnippetQuery = { uri: uriOf(file, folders), hashes: ["content"] };
    if (startLine !== undefined || endLine !== undefined) {
      const first = startLine ?? 1;
      const end = { line: (endLine ?? first) - 1, character: LINE_END };
      query.range = { start: { line: first - 1, character: 0 }, end };
    }
    if (text !== undefined) {
      query.expectedText = text;
    }
    if (contentHash !== undefined) {
      query.expected = { contentHash };
    }
    return query;
  });
}

/** Throws a message for the model if a change is not exactly one of edits, create, renameTo and delete. */
export function editParams(input: EditInput, folders: readonly Folder[]): ApplyEditsParams {
  const documentChanges = input.changes.map((change): DocumentChange => {
    const uri = uriOf(change.path, folders);
    const expected: Expected | undefined = change.contentHash === undefined ? undefined : { contentHash: change.contentHash };
    const kinds = [change.edits, change.create, change.renameTo, change.delete === true ? true : undefined];
    if (kinds.filter((kind) => kind !== undefined).length !== 1) {
      throw new Error(`${change.path}: give exactly one of edits, create, renameTo and delete`);
    }
    if (change.edits !== undefined) {
      return { textDocument: { uri }, ...(expected && { expected }), edits: change.edits.map(textEdit) };
    }
    if (change.create !== undefined) {
      return { kind: "create", uri, text: change.create, options: { createParents: true } };
    }
    if (change.renameTo !== undefined) {
      return { kind: "rename", oldUri: uri, newUri: uriOf(change.renameTo, folders), ...(expected && { expected }) };
    }
    return { kind: "delete", uri, ...(expected && { expected }) };
  });
  return { label: input.label ?? "language model", documentChanges };
}

function textEdit(edit: NonNullable<EditInput["changes"][number]["edits"]>[number]): TextEdit {
  const { oldText, startByte, endByte, newText } = edit;
  return {
    newText,
    ...(oldText !== undefined && { expectedText: oldText }),
    ...(startByte !== undefined && { range: { startByte, endByte: endByte ?? startByte } }),
  };
}

/**
 * The URI of a path as a model writes it: absolute, a `file:` URI, or relative to the workspace, where several folders are
 * told apart by their name in front.
 */
export function uriOf(file: string, folders: readonly Folder[]): string {
  if (file.startsWith("file:")) {
    return file;
  }
  if (path.isAbsolute(file)) {
    return pathToFileURL(file).toString();
  }
  const [name, ...rest] = file.split("/");
  const named = folders.length > 1 && rest.length > 0 ? folders.find((folder) => folder.name === name) : undefined;
  const folder = named ?? folders[0];
  if (folder === undefined) {
    throw new Error(`${file}: no folder is open, so only absolute paths are understood`);
  }
  return pathToFileURL(path.join(folder.path, named ? rest.join("/") : file)).toString();
}

/** At most so many characters of a text, with a note of what was cut off. */
export function shortened(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}\n… (${text.length - limit} more characters)`;
}

/** Markdown of a short text, shown as it is. */
export function codeSpan(text: string): string {
  const fence = fenceFor(text, 1);
  return fence.length === 1 ? `\`${text}\`` : `${fence} ${text} ${fence}`;
}

/** Markdown of lines, shown as they are. */
export function codeBlock(language: string, text: string): string {
  const fence = fenceFor(text, 3);
  return `${fence}${language}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}

/** More back-ticks than there are in a row in the text. */
function fenceFor(text: string, shortest: number): string {
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map((ticks) => ticks.length));
  return "`".repeat(Math.max(shortest, longest + 1));
}
