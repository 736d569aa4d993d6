import * as vscode from "vscode";
import type { Session } from "./session";
import { snippetReference } from "./reference";

/** Copies a reference that the server has verified: an element of `snippets` for `ploke/snippets`, as JSON. */
export async function copySnippetReference(session: Session): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor?.document.uri.scheme !== "file") {
    void vscode.window.showInformationMessage("Select text in a file of the workspace first.");
    return;
  }
  const { document, selection } = editor;
  const range = selection.isEmpty ? document.lineAt(selection.active.line).range : selection;
  const uri = document.uri.toString();
  const query = { uri, range: { start: plain(range.start), end: plain(range.end) } };
  const [snippet] = (await session.snippets({ snippets: [query] })).snippets;
  if (snippet?.status !== "ok") {
    throw new Error(snippet?.error.message ?? "no answer");
  }
  if (withoutCarriageReturns(snippet.text) !== withoutCarriageReturns(document.getText(range))) {
    throw new Error("The file on disk is not what the editor shows. Save it first.");
  }
  await vscode.env.clipboard.writeText(snippetReference(snippet));
  const { startByte, endByte } = snippet.byteRange;
  void vscode.window.showInformationMessage(
    `Copied a verified reference: ${vscode.workspace.asRelativePath(document.uri)}, bytes ${startByte} to ${endByte}.`,
  );
}

function plain({ line, character }: vscode.Position): { line: number; character: number } {
  return { line, character };
}

/** The editor has one line end for a whole document, a file may have several. */
function withoutCarriageReturns(text: string): string {
  return text.replaceAll("\r", "");
}
