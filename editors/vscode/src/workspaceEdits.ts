import type { ApplyEditsParams, ApplyEditsResult, Expected } from "./protocol";

/** Reads the params of `ploke/applyEdits`, or LSP's `WorkspaceEdit`, from a JSON text. Throws a message for people. */
export function parseEdits(json: string): ApplyEditsParams {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new Error(`This is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || !("documentChanges" in value || "changes" in value)) {
    throw new Error("These are no edits: an object with “documentChanges” or “changes” is expected.");
  }
  return value as ApplyEditsParams; // the server checks every field, and names the one that is wrong
}

/** The existing files that a request names, each once. */
export function filesOf(params: ApplyEditsParams): string[] {
  const named = (params.documentChanges ?? []).flatMap((change) => {
    if (!("kind" in change)) {
      return [change.textDocument.uri];
    }
    return change.kind === "rename" ? [change.oldUri, change.newUri] : [change.uri];
  });
  return [...new Set([...named, ...Object.keys(params.changes ?? {})])];
}

/** The same request, with guards that let it change exactly what its dry run has seen. */
export function pinned(params: ApplyEditsParams, dryRun: ApplyEditsResult): ApplyEditsParams {
  const expected: Record<string, Expected> = { ...params.expected };
  for (const file of dryRun.files) {
    if (file.status === "wouldApply" && file.oldContentHash !== undefined) {
      const uri = file.oldUri ?? file.uri;
      expected[uri] = { ...expected[uri], contentHash: file.oldContentHash };
    }
  }
  return { ...params, expected, dryRun: false };
}

/** Why a request was not carried out, for people: the reason, and what is wrong with each file. */
export function explain(result: ApplyEditsResult): string {
  const errors = result.files.flatMap((file) => (file.error ? [file.error.message] : []));
  return [...new Set([result.failureReason ?? "Nothing was changed.", ...errors])].join("\n");
}

/** Whether `ploke/undo` can take back what was done: something went to disk, and the server has kept what was there. */
export function canBeUndone(result: ApplyEditsResult): boolean {
  const isOnDisk = result.files.some((file) => file.status === "applied" && file.appliedTo !== "buffer");
  return isOnDisk && whyNoUndo(result) === undefined;
}

/** Why the server has not kept what an undo would need, for people; undefined if it did not say so. */
export function whyNoUndo({ files }: ApplyEditsResult): string | undefined {
  return files.flatMap((file) => file.warnings ?? []).find((warning) => warning.kind === "undoNotKept")?.message;
}
