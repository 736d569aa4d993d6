// Each command leaves what it got in PLOKE_PROBE_DIR, as a JSON file of its name.
const fs = require("node:fs");
const path = require("node:path");
const vscode = require("vscode");

exports.activate = (context) => {
  const api = vscode.extensions.getExtension("ploke.ploke-io").exports;
  const events = [];
  context.subscriptions.push(api.onFileChanged((params) => events.push(params)));
  const uri = (name) => vscode.Uri.joinPath(vscode.workspace.workspaceFolders[0].uri, name).toString();

  const register = (name, run) =>
    context.subscriptions.push(
      vscode.commands.registerCommand(`probe.${name}`, async () => {
        let got;
        try {
          got = { ok: await run() };
        } catch (error) {
          got = { error: String(error?.stack ?? error) };
        }
        const file = path.join(process.env.PLOKE_PROBE_DIR, `${name}.json`);
        fs.writeFileSync(`${file}.new`, JSON.stringify(got));
        fs.renameSync(`${file}.new`, file);
      }),
    );
  const tool = async (name, input) => {
    const result = await vscode.lm.invokeTool(name, { input, toolInvocationToken: undefined });
    return result.content.map((part) => part.value).join("");
  };

  register("api", async () => {
    const { snippets } = await api.snippets({ snippets: [{ uri: uri("api.txt") }] });
    const { contentHash } = snippets[0];
    const scan = await api.scan({ files: [{ uri: uri("api.txt"), expected: { contentHash } }] });
    const change = (hash, newText) => ({
      label: "the probe",
      documentChanges: [
        { textDocument: { uri: uri("api.txt") }, expected: { contentHash: hash }, edits: [{ expectedText: "one", newText }] },
      ],
    });
    const applied = await api.applyEdits(change(contentHash, "two"));
    const stale = await api.applyEdits(change(contentHash, "three"));
    return { snippets, scan, applied, stale, events };
  });
  register("readTools", async () => ({
    tools: vscode.lm.tools.map(({ name }) => name).filter((name) => name.startsWith("ploke_")),
    read: await tool("ploke_read_snippets", { snippets: [{ path: "tool.txt", startLine: 2, endLine: 2 }, { path: "gone.txt" }] }),
    changes: await tool("ploke_list_changes", {}),
  }));
  register("editTool", async () => ({
    edit: await tool("ploke_apply_edits", {
      label: "tool edit",
      changes: [
        { path: "tool.txt", edits: [{ oldText: "second", newText: "2nd" }] },
        { path: "made/by/tool.txt", create: "made\n" },
      ],
    }),
  }));
  register("editBuffer", async () => {
    const { document } = vscode.window.activeTextEditor;
    const { snippets } = await api.snippets({ snippets: [{ uri: document.uri.toString() }] });
    const result = await api.applyEdits({
      documentChanges: [
        {
          textDocument: { uri: document.uri.toString() },
          expected: { contentHash: snippets[0].contentHash },
          edits: [{ expectedText: "typed", newText: "typed and edited" }],
        },
      ],
    });
    return { snippets, result, text: document.getText(), isDirty: document.isDirty };
  });
};
