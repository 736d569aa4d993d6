import * as vscode from "vscode";
import type { ApplyEditsParams, ApplyEditsResult, FileResult } from "./protocol";
import type { Session } from "./session";
import type { Texts } from "./texts";
import { applyHunks, type FileDiff, parseUnifiedDiff } from "./unifiedDiff";
import { explain, pinned, whyNoUndo } from "./workspaceEdits";

/** One file of a preview; an empty side stands for a file that is not there. */
interface Side {
  title: string;
  before: vscode.Uri;
  after: vscode.Uri;
}

/** Shows edits as a diff and waits for a person to accept or reject them; one preview at a time. */
export class Previews {
  private decide: ((accepted: boolean) => void) | undefined;
  /** The preview before, until all of it is cleared away. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly session: Session,
    private readonly texts: Texts,
  ) {}

  accept(): void {
    this.decide?.(true);
  }

  reject(): void {
    this.decide?.(false);
  }

  /**
   * Applies what was shown if it is accepted, and nothing else: a file that has changed since makes it fail.
   *
   * Undefined if it was rejected or could not have been applied, which the user has been told.
   */
  run(params: ApplyEditsParams): Promise<ApplyEditsResult | undefined> {
    this.reject();
    const next = this.last.then(() => this.preview(params));
    this.last = next.catch(() => undefined);
    return next;
  }

  private async preview(params: ApplyEditsParams): Promise<ApplyEditsResult | undefined> {
    const dryRun = await this.session.applyEdits({ ...params, dryRun: true }, "");
    if (dryRun.failureReason !== undefined) {
      void vscode.window.showErrorMessage(`These edits can not be applied: ${explain(dryRun)}`);
      return undefined;
    }
    const sides = await this.sides(dryRun);
    if (sides.length === 0) {
      void vscode.window.showInformationMessage("These edits would change nothing.");
      return undefined;
    }
    if (!(await this.ask(sides, params.label ?? "edits"))) {
      return undefined;
    }
    const result = await this.session.applyEdits(pinned(params, dryRun), "previewed edits");
    this.report(result);
    return result;
  }

  private report(result: ApplyEditsResult): void {
    if (!result.applied) {
      void vscode.window.showErrorMessage(`The edits were not applied: ${explain(result)}`);
      return;
    }
    const files = result.files.length === 1 ? "1 file" : `${result.files.length} files`;
    const noUndo = whyNoUndo(result);
    if (noUndo === undefined) {
      vscode.window.setStatusBarMessage(`$(check) ploke-io: ${files} changed`, 5000);
    } else {
      void vscode.window.showWarningMessage(`${files} changed. ploke-io can not undo this: ${noUndo}`);
    }
  }

  private async sides(dryRun: ApplyEditsResult): Promise<Side[]> {
    const files = dryRun.files.filter((file) => file.status === "wouldApply");
    const diffs = parseUnifiedDiff(dryRun.diff ?? "");
    return Promise.all(files.map((file, index) => this.side(file, diffs[index])));
  }

  private async side(file: FileResult, diff: FileDiff | undefined): Promise<Side> {
    if (diff === undefined) {
      throw new Error(`there is no diff of ${file.uri}`);
    }
    const oldText = file.oldContentHash === undefined ? "" : await this.read(file.oldUri ?? file.uri, file.oldContentHash);
    const newPath = vscode.Uri.parse(file.uri).path;
    const oldPath = file.oldUri === undefined ? newPath : vscode.Uri.parse(file.oldUri).path;
    return {
      title: titleOf(diff),
      before: this.texts.add("ploke-before", oldPath, oldText),
      after: this.texts.add("ploke-after", newPath, applyHunks(oldText, diff.hunks)),
    };
  }

  /** What the edits were planned on: no other version of the file will do. */
  private async read(uri: string, contentHash: string): Promise<string> {
    const { snippets } = await this.session.snippets({ snippets: [{ uri, expected: { contentHash } }] });
    const [snippet] = snippets;
    if (snippet?.status !== "ok") {
      throw new Error(snippet?.error.message ?? "no answer");
    }
    return snippet.text;
  }

  private async ask(sides: Side[], label: string): Promise<boolean> {
    const [first] = sides;
    if (sides.length === 1 && first) {
      await vscode.commands.executeCommand("vscode.diff", first.before, first.after, first.title, { preview: false });
    } else {
      const resources = sides.map((side) => [side.after, side.before, side.after]);
      await vscode.commands.executeCommand("vscode.changes", `Preview: ${label}`, resources);
    }
    await vscode.commands.executeCommand("setContext", "ploke.previewing", true);
    const shown = new Set(sides.map((side) => side.after.toString()));
    const closed = vscode.window.tabGroups.onDidChangeTabs((event) => {
      if (event.closed.some((tab) => afterSides(tab).some((uri) => shown.has(uri)))) {
        this.reject();
      }
    });
    try {
      return await new Promise<boolean>((resolve) => {
        this.decide = resolve;
        const files = sides.length === 1 ? `“${first?.title}”` : `${sides.length} files`;
        void vscode.window.showInformationMessage(`Apply these edits to ${files}?`, "Apply", "Reject").then((answer) => {
          if (answer !== undefined) {
            resolve(answer === "Apply");
          }
        });
      });
    } finally {
      this.decide = undefined;
      closed.dispose();
      await vscode.commands.executeCommand("setContext", "ploke.previewing", false);
      await vscode.window.tabGroups.close(
        vscode.window.tabGroups.all.flatMap((group) =>
          group.tabs.filter((tab) => afterSides(tab).some((uri) => shown.has(uri))),
        ),
      );
    }
  }
}

function titleOf({ oldPath, newPath }: FileDiff): string {
  if (oldPath === undefined) {
    return `${newPath} (new)`;
  }
  if (newPath === undefined) {
    return `${oldPath} (deleted)`;
  }
  return oldPath === newPath ? `${newPath} (preview)` : `${oldPath} → ${newPath}`;
}

/** The right sides of the diffs that a tab shows. */
function afterSides(tab: vscode.Tab): string[] {
  if (tab.input instanceof vscode.TabInputTextDiff) {
    return [tab.input.modified.toString()];
  }
  // The tab of several diffs has no class in the stable API, but the same members.
  const { textDiffs } = (tab.input ?? {}) as { textDiffs?: vscode.TabInputTextDiff[] };
  return (textDiffs ?? []).map((diff) => diff.modified.toString());
}
