import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import * as vscode from "vscode";
import type { ApplyEditsParams } from "./protocol";
import type { Session } from "./session";
import {
  type ChangesInput,
  codeBlock,
  codeSpan,
  type EditInput,
  editParams,
  type Folder,
  type ReadInput,
  shortened,
  snippetQueries,
} from "./toolInput";
import { explain, filesOf, pinned } from "./workspaceEdits";

/** Longer diffs are cut in the question to the user; the whole can be previewed. */
const SHOWN_DIFF = 20_000;
const LISTED_CHANGES = 50;

/** Offers the server's requests to language models; the user is shown which files are meant, and the diff. */
export function registerTools(session: Session): vscode.Disposable {
  return vscode.Disposable.from(
    vscode.lm.registerTool("ploke_read_snippets", new ReadTool(session)),
    vscode.lm.registerTool("ploke_apply_edits", new EditTool(session)),
    vscode.lm.registerTool("ploke_list_changes", new ChangesTool(session)),
  );
}

class ReadTool implements vscode.LanguageModelTool<ReadInput> {
  constructor(private readonly session: Session) {}

  async prepareInvocation({ input }: vscode.LanguageModelToolInvocationPrepareOptions<ReadInput>) {
    const uris = new Set(snippetQueries(input, folders()).map((query) => query.uri));
    const paths = await Promise.all([...uris].map(resolvedPath));
    return {
      invocationMessage: `Reading ${input.snippets.length} snippets`,
      confirmationMessages: { title: "Read verified snippets", message: new vscode.MarkdownString(listOf(paths)) },
    };
  }

  async invoke({ input }: vscode.LanguageModelToolInvocationOptions<ReadInput>, token: vscode.CancellationToken) {
    return answer(await this.session.snippets({ snippets: snippetQueries(input, folders()) }, token));
  }
}

class EditTool implements vscode.LanguageModelTool<EditInput> {
  /** What the user was shown, by input: nothing else may be written. */
  private readonly shown = new Map<string, ApplyEditsParams>();

  constructor(private readonly session: Session) {}

  async prepareInvocation({ input }: vscode.LanguageModelToolInvocationPrepareOptions<EditInput>) {
    const params = editParams(input, folders());
    const dryRun = await this.session.applyEdits({ ...params, dryRun: true }, "");
    if (dryRun.failureReason !== undefined) {
      throw new Error(explain(dryRun));
    }
    this.shown.set(JSON.stringify(input), pinned(params, dryRun));
    const paths = await Promise.all(filesOf(params).map(resolvedPath));
    const diff = codeBlock("diff", shortened(dryRun.diff ?? "", SHOWN_DIFF));
    return {
      invocationMessage: `Applying “${params.label}”`,
      confirmationMessages: {
        title: `Apply edits: ${params.label}`,
        message: new vscode.MarkdownString(`${listOf(paths)}\n\n${diff}`),
      },
    };
  }

  async invoke({ input }: vscode.LanguageModelToolInvocationOptions<EditInput>, token: vscode.CancellationToken) {
    const key = JSON.stringify(input);
    const params = this.shown.get(key) ?? editParams(input, folders());
    this.shown.delete(key);
    return answer(await this.session.applyEdits(params, "language model", token));
  }
}

class ChangesTool implements vscode.LanguageModelTool<ChangesInput> {
  constructor(private readonly session: Session) {}

  prepareInvocation() {
    return {
      invocationMessage: "Listing recent changes",
      confirmationMessages: {
        title: "List recent changes",
        message: new vscode.MarkdownString(listOf(folders().map((folder) => folder.path))),
      },
    };
  }

  async invoke({ input }: vscode.LanguageModelToolInvocationOptions<ChangesInput>, token: vscode.CancellationToken) {
    await this.session.sync(token);
    const newest = this.session.recent.all.slice(0, input.limit ?? LISTED_CHANGES);
    return answer(
      newest.map(({ change, at }) => ({
        path: vscode.workspace.asRelativePath(vscode.Uri.parse(change.uri)),
        ...(change.oldUri !== undefined && { oldPath: vscode.workspace.asRelativePath(vscode.Uri.parse(change.oldUri)) }),
        kind: change.kind,
        by: this.session.whoMade(change),
        at: at.toISOString(),
        ...(change.contentHash !== undefined && { contentHash: change.contentHash }),
      })),
    );
  }
}

function answer(value: unknown): vscode.LanguageModelToolResult {
  return new vscode.LanguageModelToolResult([new vscode.LanguageModelTextPart(JSON.stringify(value))]);
}

function folders(): Folder[] {
  return (vscode.workspace.workspaceFolders ?? []).map(({ name, uri }) => ({ name, path: uri.fsPath }));
}

function listOf(paths: readonly string[]): string {
  return paths.map((file) => `- ${codeSpan(file)}`).join("\n");
}

/** Where a path really leads, links resolved as far as they exist. */
async function resolvedPath(uri: string): Promise<string> {
  const file = fileURLToPath(uri);
  try {
    return await fs.realpath(file);
  } catch {
    const folder = path.dirname(file);
    const above = await fs.realpath(folder).catch(() => folder);
    return path.join(above, path.basename(file)); // to be created
  }
}
