import * as path from "node:path";
import * as vscode from "vscode";
import type { ListedChange } from "./changes";
import type { ChangeKind } from "./protocol";
import type { Session } from "./session";
import type { Texts } from "./texts";

const ICONS: Record<ChangeKind, string> = {
  created: "diff-added",
  modified: "diff-modified",
  deleted: "diff-removed",
  renamed: "diff-renamed",
};

/** The view "Recent Changes": what changed, and who did it. */
export class ChangesView implements vscode.TreeDataProvider<ListedChange> {
  readonly onDidChangeTreeData: vscode.Event<void>;

  constructor(
    private readonly session: Session,
    private readonly texts: Texts,
  ) {
    this.onDidChangeTreeData = session.onRecentChanged;
  }

  getChildren(parent?: ListedChange): ListedChange[] {
    return parent === undefined ? [...this.session.recent.all] : [];
  }

  getTreeItem(listed: ListedChange): vscode.TreeItem {
    const { change, at } = listed;
    const uri = vscode.Uri.parse(change.uri);
    const item = new vscode.TreeItem(path.posix.basename(uri.path) + (change.directory ? "/" : ""));
    item.id = String(listed.id);
    item.iconPath = new vscode.ThemeIcon(ICONS[change.kind]);
    const time = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    item.description = `${this.session.whoMade(change)} · ${time}`;
    const from = change.oldUri === undefined ? "" : `\nwas ${relative(change.oldUri)}`;
    item.tooltip = `${relative(change.uri)}${from}\n${change.kind} · ${item.description}`;
    item.accessibilityInformation = { label: `${item.label as string} ${change.kind} ${item.description}` };
    item.contextValue = this.session.undoable.some(({ origin }) => origin === change.origin) ? "undoable" : "change";
    item.command = { command: "ploke.openChange", title: "Open Change", arguments: [listed] };
    return item;
  }

  /** Opens the diff from the text before the change to what is there now, else the file. */
  async open({ change, before }: ListedChange): Promise<void> {
    const uri = vscode.Uri.parse(change.uri);
    const isThere = change.kind !== "deleted" && !change.directory;
    if (before !== undefined) {
      const left = this.texts.add("ploke-before", uri.path, before);
      const right = isThere ? uri : this.texts.add("ploke-after", uri.path, "");
      await vscode.commands.executeCommand("vscode.diff", left, right, `${relative(change.uri)} (${change.kind})`);
    } else if (isThere) {
      await vscode.commands.executeCommand("vscode.open", uri);
    } else {
      void vscode.window.showInformationMessage(`${relative(change.uri)}: what was there before is not known.`);
    }
  }
}

function relative(uri: string): string {
  return vscode.workspace.asRelativePath(vscode.Uri.parse(uri));
}
