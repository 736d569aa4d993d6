import * as os from "node:os";
import * as vscode from "vscode";
import type { PlokeApi } from "./api";
import { ChangesView } from "./changesView";
import type { ListedChange } from "./changes";
import { Previews } from "./preview";
import { scanWorkspace } from "./scanCommand";
import { messageOf, Server } from "./server";
import { logFolder, newestLog } from "./serverLog";
import { Session, type Undoable } from "./session";
import { copySnippetReference } from "./snippetReference";
import { statusReport } from "./status";
import { StatusBar } from "./statusBar";
import { Texts } from "./texts";
import { registerTools } from "./tools";
import { explain, parseEdits } from "./workspaceEdits";

let server: Server | undefined;

export function activate(context: vscode.ExtensionContext): PlokeApi {
  server = new Server(context.extensionPath);
  const session = new Session(server, context.workspaceState, changesLimit());
  const texts = new Texts();
  const previews = new Previews(session, texts);
  const view = new ChangesView(session, texts);
  context.subscriptions.push(
    session,
    texts,
    new StatusBar(session),
    vscode.window.registerTreeDataProvider("ploke.recentChanges", view),
    registerTools(session),
    command("showStatus", () => showStatus(session, texts)),
    command("scanWorkspace", () => scanWorkspace(session, context.storageUri)),
    command("copySnippetReference", () => copySnippetReference(session)),
    command("previewEdits", (file?: vscode.Uri) => previewEdits(previews, file)),
    command("acceptPreview", () => previews.accept()),
    command("rejectPreview", () => previews.reject()),
    command("undoLast", () => undo(session, session.undoable[0])),
    command("undoChange", ({ change }: ListedChange) =>
      undo(session, session.undoable.find(({ origin }) => origin === change.origin)),
    ),
    command("openChange", (listed: ListedChange) => view.open(listed)),
    command("clearChanges", () => session.clearRecent()),
    command("openLog", () => openLog(session.server)),
    command("restartServer", () => session.server.restart()),
    vscode.workspace.onDidGrantWorkspaceTrust(() => session.server.restart()),
    vscode.workspace.onDidChangeConfiguration((event) => {
      session.recent.setLimit(changesLimit());
      if (["server", "watch", "durability"].some((section) => event.affectsConfiguration(`ploke.${section}`))) {
        void session.server.restart();
      }
    }),
  );
  void server.restart();
  return session.api;
}

/** Waits until the server has finished what it was writing. */
export async function deactivate(): Promise<void> {
  await server?.dispose();
}

/** Every failure of a command is shown to the user. */
function command(name: string, run: (argument: never) => unknown): vscode.Disposable {
  return vscode.commands.registerCommand(`ploke.${name}`, async (argument: never) => {
    try {
      await run(argument);
    } catch (error) {
      const answer = await vscode.window.showErrorMessage(`ploke-io: ${messageOf(error)}`, "Open Log");
      if (answer !== undefined) {
        await vscode.commands.executeCommand("ploke.openLog");
      }
    }
  });
}

async function showStatus(session: Session, texts: Texts): Promise<void> {
  const status = await session.status();
  const { methods = [], openBuffers } = session.server.capabilities ?? {};
  const features = openBuffers ? [...methods, "open buffers"] : methods;
  await texts.show("ploke-io status", statusReport(status, session.server.pid, features));
}

/** Shows what the extension logs, and the end of what the server itself has logged last, if there is such a file. */
async function openLog(server: Server): Promise<void> {
  server.log.show(true);
  const file = newestLog(
    logFolder({ env: process.env, platform: process.platform, home: os.homedir(), serverFolder: server.folder }),
  );
  if (file !== undefined) {
    const document = await vscode.workspace.openTextDocument(file);
    const end = document.lineAt(document.lineCount - 1).range;
    await vscode.window.showTextDocument(document, { preview: true, selection: end });
    await vscode.commands.executeCommand("workbench.action.files.setActiveEditorReadonlyInSession");
  }
}

async function previewEdits(previews: Previews, file: vscode.Uri | undefined): Promise<void> {
  const json = file === undefined ? await chooseEdits() : await textOf(file);
  if (json !== undefined) {
    await previews.run(parseEdits(json));
  }
}

async function chooseEdits(): Promise<string | undefined> {
  const active = vscode.window.activeTextEditor?.document;
  const sources = [
    { label: "$(clippy) From the Clipboard", read: () => vscode.env.clipboard.readText() },
    ...(active?.languageId.startsWith("json")
      ? [{ label: "$(file) From the Active Editor", read: () => Promise.resolve(active.getText()) }]
      : []),
    { label: "$(folder-opened) From a JSON File…", read: chooseFile },
  ];
  const source = await vscode.window.showQuickPick(sources, { title: "Preview edits" });
  return source?.read();
}

async function chooseFile(): Promise<string | undefined> {
  const [file] = (await vscode.window.showOpenDialog({ title: "Edits", filters: { JSON: ["json"] } })) ?? [];
  return file && textOf(file);
}

async function textOf(file: vscode.Uri): Promise<string> {
  return Buffer.from(await vscode.workspace.fs.readFile(file)).toString();
}

async function undo(session: Session, last: Undoable | undefined): Promise<void> {
  if (last === undefined) {
    void vscode.window.showInformationMessage("There is nothing to undo.");
    return;
  }
  const result = await session.undo(last);
  if (result.applied) {
    void vscode.window.showInformationMessage(`Undone: ${last.label}.`);
    return;
  }
  const answer = await vscode.window.showWarningMessage(`Not undone: ${explain(result)}`, "Forget This Transaction");
  if (answer !== undefined) {
    await session.forget(last.origin);
  }
}

function changesLimit(): number {
  return vscode.workspace.getConfiguration("ploke").get("recentChanges.limit", 200);
}
