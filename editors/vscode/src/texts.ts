import * as vscode from "vscode";

export type TextScheme = "ploke-before" | "ploke-after" | "ploke";

/** Texts that are no files: the two sides of diffs, and reports. */
export class Texts implements vscode.Disposable, vscode.TextDocumentContentProvider {
  private readonly texts = new Map<string, string>();
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly subscriptions: vscode.Disposable[];
  private lastId = 0;

  constructor() {
    this.subscriptions = [
      this.changed,
      ...(["ploke-before", "ploke-after", "ploke"] satisfies TextScheme[]).map((scheme) =>
        vscode.workspace.registerTextDocumentContentProvider(scheme, this),
      ),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.texts.delete(uri.toString())),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.subscriptions).dispose();
  }

  /** A new document that looks like the file at `path`. */
  add(scheme: TextScheme, path: string, text: string): vscode.Uri {
    const uri = vscode.Uri.from({ scheme, path, query: String(++this.lastId) });
    this.texts.set(uri.toString(), text);
    return uri;
  }

  /** Shows a report in an editor of its own; a newer one takes its place. */
  async show(path: string, text: string): Promise<void> {
    const uri = vscode.Uri.from({ scheme: "ploke", path });
    this.texts.set(uri.toString(), text);
    this.changed.fire(uri);
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true });
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? "";
  }
}
