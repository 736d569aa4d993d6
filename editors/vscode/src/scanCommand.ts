import * as vscode from "vscode";
import type { ScannedFile } from "./protocol";
import { type KnownHashes, reportOf, type ScanReport, summaryOf, UNKNOWN_HASH } from "./scan";
import type { Session } from "./session";

/** Files in one request: enough to keep the server busy, few enough for progress to be seen. */
const FILES_PER_REQUEST = 500;

/** Compares all files of the workspace with the last scan, and tells what has changed. */
export async function scanWorkspace(session: Session, storage: vscode.Uri | undefined): Promise<void> {
  if (storage === undefined) {
    void vscode.window.showInformationMessage("Open a folder to scan it.");
    return;
  }
  const memory = vscode.Uri.joinPath(storage, "scan.json");
  const before = await load(memory);
  const report = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: "Scanning the workspace", cancellable: true },
    (progress, token) => scan(session, before ?? {}, progress, token),
  );
  if (report === undefined) {
    void vscode.window.showInformationMessage("The scan was cancelled.");
    return;
  }
  await vscode.workspace.fs.createDirectory(storage);
  await vscode.workspace.fs.writeFile(memory, Buffer.from(JSON.stringify(report.known)));
  await show(report, before === undefined);
}

/** Undefined if it was cancelled. */
async function scan(
  session: Session,
  before: KnownHashes,
  progress: vscode.Progress<{ message?: string; increment?: number }>,
  token: vscode.CancellationToken,
): Promise<ScanReport | undefined> {
  const found = await vscode.workspace.findFiles("**/*", excluded(), undefined, token);
  const here = found.filter((uri) => uri.scheme === "file").map((uri) => uri.toString());
  const uris = [...new Set([...here, ...Object.keys(before)])];
  const scanned: ScannedFile[] = [];
  const isCancelled = (): boolean => token.isCancellationRequested;
  for (let at = 0; at < uris.length && !isCancelled(); at += FILES_PER_REQUEST) {
    const files = uris.slice(at, at + FILES_PER_REQUEST);
    const queries = files.map((uri) => ({ uri, expected: { contentHash: before[uri] ?? UNKNOWN_HASH } }));
    try {
      scanned.push(...(await session.scan({ files: queries }, token)).files);
    } catch (error) {
      if (isCancelled()) {
        return undefined;
      }
      throw error;
    }
    const done = Math.min(at + FILES_PER_REQUEST, uris.length);
    progress.report({ message: `${done} of ${uris.length} files`, increment: (100 * files.length) / uris.length });
  }
  return isCancelled() ? undefined : reportOf(before, scanned);
}

/** What the user wants to see neither in the explorer nor in a search. */
function excluded(): string {
  const settings = vscode.workspace.getConfiguration();
  const globs = { ...settings.get<object>("files.exclude"), ...settings.get<object>("search.exclude") };
  return `{${Object.entries(globs).flatMap(([glob, on]) => (on === true ? [glob] : [])).join(",")}}`;
}

async function show(report: ScanReport, isFirst: boolean): Promise<void> {
  const lines = [
    ...report.changed.map((uri) => ({ uri, detail: "changed" })),
    ...(isFirst ? [] : report.added).map((uri) => ({ uri, detail: "new" })),
    ...report.missing.map((uri) => ({ uri, detail: "missing" })),
    ...report.failed.map(({ uri, message }) => ({ uri, detail: message })),
  ];
  const buttons = lines.length === 0 ? [] : ["Show Files"];
  const answer = await vscode.window.showInformationMessage(summaryOf(report, isFirst), ...buttons);
  if (answer === undefined) {
    return;
  }
  const items = lines.map(({ uri, detail }) => ({ label: vscode.workspace.asRelativePath(vscode.Uri.parse(uri)), description: detail, uri }));
  const chosen = await vscode.window.showQuickPick(items, { title: "Scan", placeHolder: "Open a file" });
  if (chosen !== undefined && chosen.description !== "missing") {
    await vscode.commands.executeCommand("vscode.open", vscode.Uri.parse(chosen.uri));
  }
}

async function load(memory: vscode.Uri): Promise<KnownHashes | undefined> {
  try {
    return JSON.parse(Buffer.from(await vscode.workspace.fs.readFile(memory)).toString()) as KnownHashes;
  } catch {
    return undefined; // none yet, or one that was cut short: scan as for the first time
  }
}
