import { randomUUID } from "node:crypto";
import * as vscode from "vscode";
import type { PlokeApi } from "./api";
import { canBeUndone, filesOf } from "./workspaceEdits";
import { RecentChanges, TextCache, whoMade } from "./changes";
import type {
  ApplyEditsParams,
  ApplyEditsResult,
  ChangesResult,
  FileChange,
  FileChangedParams,
  ScanParams,
  ScanResult,
  SnippetsParams,
  SnippetsResult,
  StatusResult,
  UndoResult,
} from "./protocol";
import { messageOf, type Server } from "./server";

/** Texts before a change are kept up to this size together, in characters. */
const KEPT_TEXTS = 16 << 20;
const LARGEST_KEPT_FILE = 1 << 20;
/** What changed together with so many others (a checkout, a build) is not read. */
const MANY_CHANGES = 50;
const UNDO_KEY = "undoable";
const CLOCK_KEY = "clock";
const UNDOABLE_LIMIT = 100;

/** A transaction of this editor that can be taken back. */
export interface Undoable {
  origin: string;
  label: string;
}

/** What this editor has asked of the server and heard from it. Undoable transactions outlive the window. */
export class Session implements vscode.Disposable {
  readonly recent: RecentChanges;
  private readonly recentChanged = new vscode.EventEmitter<void>();
  readonly onRecentChanged = this.recentChanged.event;
  /** What the origins of this editor's requests stand for. */
  private readonly labels = new Map<string, string>();
  private readonly texts = new TextCache(KEPT_TEXTS);
  private readonly subscriptions: vscode.Disposable[];
  /** Changes are taken in one notification after the other. */
  private taking: Promise<void> = Promise.resolve();

  constructor(
    readonly server: Server,
    private readonly memory: vscode.Memento,
    limit: number,
  ) {
    this.recent = new RecentChanges(limit);
    for (const { origin, label } of this.undoable) {
      this.labels.set(origin, label);
    }
    this.subscriptions = [
      this.recentChanged,
      server.onFileChanged((params) => this.enqueue(() => this.take(params))),
      server.onStateChanged((state) => state === "running" && this.enqueue(() => this.catchUp())),
      vscode.workspace.onDidOpenTextDocument((document) => this.rememberOpened(document)),
    ];
    for (const document of vscode.workspace.textDocuments) {
      this.rememberOpened(document);
    }
  }

  dispose(): void {
    vscode.Disposable.from(...this.subscriptions).dispose();
  }

  get api(): PlokeApi {
    return {
      version: 1,
      snippets: (params, token) => this.snippets(params, token),
      scan: (params, token) => this.scan(params, token),
      applyEdits: (params, token) => this.applyEdits(params, "another extension", token),
      onFileChanged: this.server.onFileChanged,
    };
  }

  whoMade(change: FileChange): string {
    return whoMade(change, this.labels);
  }

  /** The newest first. */
  get undoable(): readonly Undoable[] {
    return this.memory.get<Undoable[]>(UNDO_KEY, []);
  }

  snippets(params: SnippetsParams, token?: vscode.CancellationToken): Promise<SnippetsResult> {
    return this.server.request("ploke/snippets", params, token);
  }

  scan(params: ScanParams, token?: vscode.CancellationToken): Promise<ScanResult> {
    return this.server.request("ploke/scan", params, token);
  }

  status(): Promise<StatusResult> {
    return this.server.request("ploke/status", {});
  }

  /** Everything that happened before is listed when it is done, if the server knows how to tell. */
  async sync(token?: vscode.CancellationToken): Promise<void> {
    if (this.server.has("ploke/sync")) {
      await this.server.request("ploke/sync", {}, token);
    }
    await this.taking;
  }

  /** `who` is shown beside the changes of a request that has no label of its own. */
  async applyEdits(params: ApplyEditsParams, who: string, token?: vscode.CancellationToken): Promise<ApplyEditsResult> {
    if (params.dryRun) {
      return this.server.request("ploke/applyEdits", params, token);
    }
    const origin = params.origin ?? randomUUID();
    const label = params.label ?? who;
    this.labels.set(origin, label);
    await Promise.all(filesOf(params).map((uri) => this.remember(vscode.Uri.parse(uri))));
    const result: ApplyEditsResult = await this.server.request("ploke/applyEdits", { ...params, origin }, token);
    if (canBeUndone(result)) {
      await this.setUndoable([{ origin, label }, ...this.undoable]);
    }
    return result;
  }

  async undo({ origin, label }: Undoable): Promise<UndoResult> {
    const result: UndoResult = await this.server.request<UndoResult>("ploke/undo", { origin }).catch(async (error: unknown) => {
      if (kindOf(error) === "notFound") {
        await this.forget(origin); // it is not kept any more, and never will be again
      }
      throw error;
    });
    if (result.applied) {
      this.labels.set(result.origin, `undo of ${label}`);
      await this.forget(origin); // and the list is shown anew
    }
    return result;
  }

  /** The transaction is not offered to be taken back any more. */
  async forget(origin: string): Promise<void> {
    await this.setUndoable(this.undoable.filter((known) => known.origin !== origin));
  }

  clearRecent(): void {
    this.recent.clear();
    this.recentChanged.fire();
  }

  private async setUndoable(undoable: Undoable[]): Promise<void> {
    await this.memory.update(UNDO_KEY, undoable.slice(0, UNDOABLE_LIMIT));
    this.recentChanged.fire();
  }

  private enqueue(task: () => Promise<void>): void {
    this.taking = this.taking.then(task).catch((error: unknown) => this.server.log.warn(messageOf(error)));
  }

  private async take({ changes, rescan }: FileChangedParams): Promise<void> {
    if (rescan) {
      this.server.log.warn("the server may have missed changes: scan the workspace");
    }
    const at = new Date();
    for (const change of changes) {
      this.recent.add({ change, at, before: this.texts.get(keyOf(change.oldUri ?? change.uri)) });
    }
    this.recentChanged.fire();
    for (const change of changes) {
      this.texts.delete(keyOf(change.oldUri ?? change.uri));
      if (changes.length < MANY_CHANGES && change.kind !== "deleted" && !change.directory) {
        await this.remember(vscode.Uri.parse(change.uri));
      }
    }
    await this.saveClock();
  }

  /** Lists what happened while this editor was away, where the server can tell. */
  private async catchUp(): Promise<void> {
    const since = this.memory.get<string>(CLOCK_KEY);
    if (!this.server.has("ploke/changes")) {
      return;
    }
    if (since !== undefined) {
      const missed: ChangesResult = await this.server.request("ploke/changes", { since });
      if (!missed.freshInstance && missed.changes.length > 0) {
        await this.take({ seq: 0, changes: missed.changes });
      }
    }
    await this.saveClock();
  }

  private async saveClock(): Promise<void> {
    if (this.server.has("ploke/changes")) {
      const { clock }: ChangesResult = await this.server.request("ploke/changes", {});
      await this.memory.update(CLOCK_KEY, clock);
    }
  }

  /** What the user sees at first is what the first change is compared with, even if the file changes at once. */
  private rememberOpened(document: vscode.TextDocument): void {
    if (document.isDirty) {
      void this.remember(document.uri);
    } else if (document.uri.scheme === "file") {
      this.texts.set(document.uri.toString(), document.getText());
    }
  }

  /** Keeps what stands in a file now, so that its next change can be shown as a diff. */
  private async remember(uri: vscode.Uri): Promise<void> {
    if (uri.scheme !== "file") {
      return;
    }
    try {
      const { size } = await vscode.workspace.fs.stat(uri);
      if (size <= LARGEST_KEPT_FILE) {
        const bytes = await vscode.workspace.fs.readFile(uri);
        this.texts.set(uri.toString(), new TextDecoder("utf-8", { fatal: true }).decode(bytes));
      }
    } catch {
      this.texts.delete(uri.toString()); // no such file, or no text: then there is no diff to show
    }
  }
}

/** The server and the editor may spell the same URI differently. */
function keyOf(uri: string): string {
  return vscode.Uri.parse(uri).toString();
}

/** The kind of the item error that a failed request carries. */
function kindOf(error: unknown): string | undefined {
  return (error as { data?: { kind?: string } } | undefined)?.data?.kind;
}
