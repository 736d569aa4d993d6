/** One file of a unified diff as `ploke/applyEdits` makes it. */
export interface FileDiff {
  /** Path relative to its root; undefined for a created file. */
  oldPath: string | undefined;
  /** Path relative to its root; undefined for a deleted file. */
  newPath: string | undefined;
  hunks: Hunk[];
}

export interface Hunk {
  /** First line in the old text, from 0. */
  oldStart: number;
  /** With their line ends; the last line of a text may have none. */
  lines: { side: "both" | "old" | "new"; text: string }[];
}

/** Splits a unified diff into its files. Throws if it is not one. */
export function parseUnifiedDiff(diff: string): FileDiff[] {
  const lines = splitLines(diff);
  const files: FileDiff[] = [];
  let at = 0;
  const next = (): string => lines[at++]?.replace(/\n$/, "") ?? "";
  const startsWith = (prefix: string): boolean => lines[at]?.startsWith(prefix) ?? false;
  while (at < lines.length) {
    const file: FileDiff = { oldPath: undefined, newPath: undefined, hunks: [] };
    const first = at;
    if (startsWith("diff --git ")) {
      at++;
    }
    if (startsWith("new file mode ") || startsWith("deleted file mode ")) {
      at++;
    }
    if (startsWith("rename from ")) {
      file.oldPath = unquote(next().slice("rename from ".length));
      file.newPath = unquote(next().slice("rename to ".length));
    }
    if (startsWith("--- ")) {
      file.oldPath = pathOfSide(next().slice("--- ".length));
      file.newPath = pathOfSide(next().slice("+++ ".length));
    }
    while (startsWith("@@ ")) {
      const [hunk, after] = parseHunk(lines, at);
      file.hunks.push(hunk);
      at = after;
    }
    if (at === first) {
      throw new Error(`not a line of a unified diff: ${next()}`);
    }
    files.push(file);
  }
  return files;
}

/** The new text. Throws if the old one is not what the hunks were made for. */
export function applyHunks(old: string, hunks: Hunk[]): string {
  const oldLines = splitLines(old);
  const result: string[] = [];
  let at = 0;
  for (const hunk of hunks) {
    result.push(...oldLines.slice(at, hunk.oldStart));
    at = hunk.oldStart;
    for (const line of hunk.lines) {
      if (line.side !== "new" && oldLines[at++] !== line.text) {
        throw new Error(`line ${at} is not the one the diff was made for`);
      }
      if (line.side !== "old") {
        result.push(line.text);
      }
    }
  }
  return result.concat(oldLines.slice(at)).join("");
}

function parseHunk(lines: string[], at: number): [Hunk, number] {
  const header = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@/.exec(lines[at] ?? "");
  if (header === null) {
    throw new Error(`not the header of a hunk: ${lines[at]}`);
  }
  let oldLeft = Number(header[2] ?? 1);
  let newLeft = Number(header[3] ?? 1);
  // Of an empty side the header names the line before it.
  const hunk: Hunk = { oldStart: Number(header[1]) - (oldLeft === 0 ? 0 : 1), lines: [] };
  for (at++; oldLeft > 0 || newLeft > 0; at++) {
    const line = lines[at] ?? "";
    const side = ({ " ": "both", "-": "old", "+": "new" } as const)[line[0] ?? ""];
    if (side === undefined) {
      throw new Error(`not a line of a hunk: ${line}`);
    }
    oldLeft -= side === "new" ? 0 : 1;
    newLeft -= side === "old" ? 0 : 1;
    const isCut = lines[at + 1]?.startsWith("\\ ") ?? false;
    hunk.lines.push({ side, text: isCut ? line.slice(1, -1) : line.slice(1) });
    at += isCut ? 1 : 0;
  }
  return [hunk, at];
}

/** Only a line feed ends a line; a carriage return is part of it. */
function splitLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function pathOfSide(name: string): string | undefined {
  const path = unquote(name.replace(/\t$/, ""));
  return path === "/dev/null" ? undefined : path.replace(/^[ab]\//, "");
}

/** Git quotes names with unusual bytes, and writes these in octal. */
function unquote(name: string): string {
  if (!name.startsWith('"') || !name.endsWith('"')) {
    return name;
  }
  const bytes: number[] = [];
  for (const [token] of name.slice(1, -1).matchAll(/\\[0-7]{3}|\\.|[^\\]/gsu)) {
    if (/^\\[0-7]{3}$/.test(token)) {
      bytes.push(parseInt(token.slice(1), 8));
    } else {
      bytes.push(...Buffer.from(token.startsWith("\\") ? token.slice(1) : token));
    }
  }
  return Buffer.from(bytes).toString();
}
