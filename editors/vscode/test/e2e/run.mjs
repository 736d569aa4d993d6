// Drives the packaged extension in a real VS Code (code-server) in a real browser, with the real server.
// Usage: run.mjs CACHE, the folder that test/install.sh has filled.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import * as path from "node:path";
import { announced, serverBinary } from "../binary.mjs";
import { Editor } from "./editor.mjs";

const cache = path.resolve(process.argv[2]);
const artifacts = path.resolve("artifacts");
const binary = serverBinary();
const folderOf = (prefix) => path.join(cache, readdirSync(cache).find((name) => name.startsWith(prefix)));
const codeServer = {
  node: path.join(folderOf("node-"), "home/bin/node"),
  entry: path.join(folderOf("code-server-"), "node_modules/code-server/out/node/entry.js"),
};
const settings = {
  "ploke.server.path": binary,
  "workbench.startupEditor": "none",
  "chat.disableAIFeatures": true,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "security.workspace.trust.enabled": false,
  "security.workspace.trust.startupPrompt": "never",
  "files.autoSave": "off",
  "editor.minimap.enabled": false,
  "extensions.ignoreRecommendations": true,
  "git.enabled": false,
};

const CODE = "fn one() {}\nfn second() {\n    one();\n}\n";
const FILES = {
  "code.rs": CODE,
  "outside.txt": "before\n",
  "other.txt": "other\n",
  "api.txt": "one\n",
  "tool.txt": "first\nsecond\n",
  "buffer.txt": "saved\n",
};

rmSync(artifacts, { recursive: true, force: true });
mkdirSync(artifacts);
const { openBuffers, methods } = await announced(binary);
const editor = new Editor(codeServer, ["ploke-io.vsix", "out/ploke-probe.vsix"], settings);
const { page } = await begin();
let shots = 0;

try {
  await step("the extension activates and its status is visible", async () => {
    await statusBar("ploke: watching").waitFor();
  });

  let pid;
  await step("the server process runs, and its status names it", async () => {
    pid = await shownPid();
    assert.equal(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[0], binary);
  });

  await step("a scan shows its progress and what has changed since the last one", async () => {
    await editor.run("Ploke: Scan Workspace");
    await editor.notification("the next scan tells what has changed");
    await editor.dismissNotifications();
    writeFileSync(file("other.txt"), "changed\n");
    await editor.run("Ploke: Scan Workspace");
    await editor.notification("1 changed, 0 new, 0 missing");
    await editor.dismissNotifications();
  });

  await step("an outside change is listed, and opens as a diff from the text before it", async () => {
    await editor.openFile("outside.txt");
    await statusBar("ploke: watching").waitFor();
    writeFileSync(file("outside.txt"), "after\n");
    await page.locator(".activitybar [aria-label='ploke-io']").first().click();
    const row = page.locator(".pane-body .monaco-list-row").filter({ hasText: "outside.txt" }).filter({ hasText: "outside ·" });
    await row.first().click();
    await page.locator(".tab.active").filter({ hasText: "outside.txt (modified)" }).waitFor();
    await page.locator(".monaco-diff-editor .view-line").filter({ hasText: "before" }).first().waitFor();
    await page.locator(".monaco-diff-editor .view-line").filter({ hasText: "after" }).first().waitFor();
  });

  await step("a verified reference of the selection is copied", async () => {
    await editor.openFile("code.rs");
    await page.locator(".editor-instance .view-lines").last().click();
    await page.keyboard.press("Control+Home");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Shift+End");
    await editor.run("Ploke: Copy Verified Snippet Reference");
    await editor.notification("Copied a verified reference: code.rs, bytes 12 to 25");
    const reference = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    assert.equal(reference.expectedText, "fn second() {");
    assert.deepEqual(reference.range, { startByte: 12, endByte: 25 });
    assert.match(reference.expected.contentHash, /^[0-9a-f]{64}$/);
    await editor.dismissNotifications();
  });

  await step("a rejected preview changes nothing", async () => {
    await previewFromClipboard(renameSecond());
    const question = await editor.notification("Apply these edits to “code.rs (preview)”?");
    await question.getByRole("button", { name: "Reject" }).click();
    await page.locator(".tab").filter({ hasText: "code.rs (preview)" }).waitFor({ state: "detached" });
    assert.equal(read("code.rs"), CODE);
  });

  await step("an accepted preview changes the file on disk, and is listed as a request", async () => {
    await previewFromClipboard(renameSecond());
    await page.locator(".monaco-diff-editor .view-line").filter({ hasText: "fn renamed() {" }).first().waitFor();
    const question = await editor.notification("Apply these edits to “code.rs (preview)”?");
    await question.getByRole("button", { name: "Apply" }).hover(); // when it has come to rest
    await screenshot("preview", process.env.UPDATE_SCREENSHOT === "1" && "images/screenshot.png");
    await question.getByRole("button", { name: "Apply" }).click();
    await editor.until("code.rs to change", () => read("code.rs") === CODE.replace("second", "renamed"));
    await page.locator(".pane-body .monaco-list-row").filter({ hasText: "request: rename a function" }).first().waitFor();
  });

  await step("edits of several files are accepted by the button of their editor", async () => {
    const entries = ["other.txt", "outside.txt"].map((name) => ({
      textDocument: { uri: uri(name) },
      edits: [{ expectedText: read(name), newText: "several\n" }],
    }));
    await previewFromClipboard({ label: "several", documentChanges: [...entries, { kind: "create", uri: uri("new.txt"), text: "new\n" }] });
    await editor.notification("Apply these edits to 3 files?");
    await screenshot("preview of several files");
    await page.locator(".editor-actions [aria-label^='Apply the Previewed Edits']").first().click();
    await editor.until("three files", () => existsSync(file("new.txt")) && read("other.txt") === "several\n");
    assert.equal(read("outside.txt"), "several\n");
  });

  await step("edits that do not fit any more are refused with the reason", async () => {
    await previewFromClipboard(renameSecond());
    const message = await editor.notification("These edits can not be applied");
    await message.filter({ hasText: "code.rs" }).waitFor();
    await editor.dismissNotifications();
  });

  await step("the last transactions are taken back one after the other", async () => {
    await editor.run("Ploke: Undo Last Sidecar Transaction");
    await editor.notification("Undone: several.");
    assert.equal(existsSync(file("new.txt")), false);
    assert.equal(read("outside.txt"), "after\n");
    await editor.run("Ploke: Undo Last Sidecar Transaction");
    await editor.notification("Undone: rename a function.");
    assert.equal(read("code.rs"), CODE);
    await editor.dismissNotifications();
  });

  await step("another extension uses the API", async () => {
    const got = await probe("Use the API", "api");
    assert.equal(got.snippets[0].text, "one\n");
    assert.equal(got.scan.files[0].status, "unchanged");
    assert.equal(got.applied.applied, true);
    assert.equal(got.stale.files[0].error.kind, "contentMismatch");
    assert.ok(got.events.some(({ changes }) => changes.some(({ origin }) => origin === got.applied.origin)));
    assert.equal(read("api.txt"), "two\n");
  });

  await step("language models read and list with the tools", async () => {
    const got = await probe("Use the Tools that Read", "readTools", { allow: ["Read verified snippets", "List recent changes"] });
    assert.deepEqual(got.tools.sort(), ["ploke_apply_edits", "ploke_list_changes", "ploke_read_snippets"]);
    const { snippets } = JSON.parse(got.read);
    assert.equal(snippets[0].text, "second");
    assert.equal(snippets[1].error.kind, "notFound");
    assert.ok(JSON.parse(got.changes).some((change) => change.path === "api.txt" && change.by === "request: the probe"));
  });

  await step("a language model edits after the user has seen paths and diff", async () => {
    const got = await probe("Use the Tool that Edits", "editTool", {
      allow: ["Apply edits: tool edit"],
      shows: [file("tool.txt"), "-second", "+2nd", file("made/by/tool.txt")],
    });
    assert.equal(JSON.parse(got.edit).applied, true);
    assert.equal(read("tool.txt"), "first\n2nd\n");
    assert.equal(read("made/by/tool.txt"), "made\n");
  });

  await step("an edit of an unsaved buffer arrives in the buffer, not on disk", openBuffers && (async () => {
    await editor.openFile("buffer.txt");
    await page.locator(".editor-instance .view-lines").last().click();
    await page.keyboard.press("Control+Home");
    await page.keyboard.type("typed ");
    const got = await probe("Edit the Active Buffer", "editBuffer");
    assert.equal(got.result.applied, true);
    await editor.until("the edit in the buffer", async () => (await editor.shownText()).includes("typed and edited saved"));
    assert.equal(read("buffer.txt"), "saved\n");
  }), "the server does not announce open buffers");

  await step("edits of a file and an unsaved buffer are told to have no undo, and none is offered", openBuffers && (async () => {
    await previewFromClipboard({
      label: "no undo",
      documentChanges: [
        { textDocument: { uri: uri("buffer.txt") }, edits: [{ expectedText: "typed and edited", newText: "previewed" }] },
        { kind: "create", uri: uri("beside.txt"), text: "made\n" },
      ],
    });
    const question = await editor.notification("Apply these edits to 2 files?");
    await question.getByRole("button", { name: "Apply" }).click();
    await editor.notification("2 files changed. ploke-io can not undo this");
    assert.equal(read("beside.txt"), "made\n");
    await editor.dismissNotifications();
    await editor.run("Ploke: Undo Last Sidecar Transaction");
    await editor.notification("Undone: tool edit.");
    assert.equal(read("tool.txt"), "first\nsecond\n");
    await editor.dismissNotifications();
  }), "the server does not announce open buffers");

  await step("a killed server comes back as another process", async () => {
    process.kill(pid, "SIGKILL");
    await statusBar("ploke: restarting").or(statusBar("ploke: watching")).first().waitFor();
    const again = await editor.until("another process", async () => {
      const shown = await shownPid().catch(() => pid);
      return shown !== pid && shown;
    });
    assert.equal(readFileSync(`/proc/${again}/cmdline`, "utf8").split("\0")[0], binary);
    await statusBar("ploke: watching").waitFor();
    await editor.dismissNotifications();
  });

  await step("log and restart are at hand", async () => {
    await editor.run("Ploke: Open Log");
    await page.locator(".part.panel").filter({ hasText: "starting" }).first().waitFor();
    await page.locator(".tab.active").filter({ hasText: /ploke-io\..*log/ }).waitFor();
    await editor.until("the end of the server's log", async () => (await editor.shownText()).includes("INFO"));
    const before = await shownPid();
    await editor.run("Ploke: Restart Server");
    await editor.until("another process", async () => (await shownPid().catch(() => before)) !== before);
    await statusBar("ploke: watching").waitFor();
  });

  await step("a long scan shows its progress and can be cancelled", async () => {
    mkdirSync(file("large"));
    for (let index = 0; index < 24; index++) {
      writeFileSync(file(`large/${index}`), "");
      truncateSync(file(`large/${index}`), 4 * 2 ** 30); // holes: long to read, and nothing on disk
    }
    await editor.run("Ploke: Scan Workspace");
    const progress = await editor.notification("Scanning the workspace");
    await progress.getByRole("button", { name: "Cancel" }).click();
    await editor.notification("The scan was cancelled.");
    rmSync(file("large"), { recursive: true });
    await editor.dismissNotifications();
  });

  await step("a missing program is told, with a button to choose one", async () => {
    editor.setWorkspaceSettings({ "ploke.server.path": "/nowhere/ploke-io" });
    const message = await editor.notification("/nowhere/ploke-io, and no program is there");
    await message.getByRole("button", { name: "Choose Program…" }).waitFor();
    await statusBar("ploke: failed").waitFor();
  });

  await step("a server of another protocol is not used, and told", async () => {
    editor.setWorkspaceSettings({ "ploke.server.path": path.resolve("test/e2e/other-protocol.mjs") });
    await editor.notification("speaks protocol 2; this extension needs protocol 1");
    await statusBar("ploke: failed").waitFor();
    editor.setWorkspaceSettings({});
    await statusBar("ploke: watching").waitFor();
    await editor.dismissNotifications();
  });

  await step("what changes while no server runs is listed once one does", methods.includes("ploke/changes") && (async () => {
    editor.setWorkspaceSettings({ "ploke.server.path": "/nowhere/ploke-io" });
    await statusBar("ploke: failed").waitFor();
    writeFileSync(file("away.txt"), "made meanwhile\n");
    editor.setWorkspaceSettings({});
    await page.locator(".pane-body .monaco-list-row").filter({ hasText: "away.txt" }).filter({ hasText: "outside ·" }).first().waitFor();
    await editor.dismissNotifications();
  }), "the server does not announce ploke/changes");

  await step("every folder of a workspace is a root, as they come and go", async () => {
    const workspaceFile = path.join(editor.probe, "two.code-workspace");
    const setFolders = (...paths) => writeFileSync(workspaceFile, JSON.stringify({ folders: paths.map((path) => ({ path })) }));
    mkdirSync(path.join(editor.probe, "second"));
    mkdirSync(path.join(editor.probe, "third"));
    setFolders(editor.workspace, "second", "third");
    await editor.until("three folders in the editor", async () => {
      await editor.load("workspace", workspaceFile);
      return editor.showsFolder("third");
    });
    await statusBar("ploke: watching").waitFor();
    await editor.until("three roots", async () => (await shownRoots()).length === 3);
    setFolders(editor.workspace, "second");
    await editor.until("two roots", async () => (await shownRoots()).length === 2);
    assert.deepEqual(await shownRoots(), [`file://${editor.workspace}`, `file://${editor.probe}/second`]);
  });

  await step("no server is started before the workspace is trusted", async () => {
    editor.setUserSettings({ ...settings, "security.workspace.trust.enabled": true });
    await editor.load("folder", editor.workspace);
    await statusBar("ploke: untrusted").waitFor();
    await editor.until("no server process", () => serverProcesses().length === 0);
    await editor.run("Workspaces: Manage Workspace Trust");
    await page.getByRole("button", { name: "Trust", exact: true }).first().click();
    await statusBar("ploke: watching").waitFor();
  });
} catch (error) {
  await screenshot("failure").catch(() => {});
  console.error(error);
  process.exitCode = 1;
} finally {
  await editor.close();
}

async function begin() {
  for (const [name, text] of Object.entries(FILES)) {
    writeFileSync(file(name), text);
  }
  await editor.open();
  return editor;
}

async function step(name, run, otherwise) {
  if (!run) {
    console.log(`SKIPPED ${name}: ${otherwise}`);
    return;
  }
  const start = Date.now();
  try {
    await run();
  } catch (error) {
    throw new Error(`FAILED ${name}`, { cause: error });
  }
  console.log(`ok ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  await screenshot(name);
}

/** Kept as an artefact; `also` at another place. */
async function screenshot(name, also) {
  const image = await page.screenshot({ path: path.join(artifacts, `${String(++shots).padStart(2, "0")} ${name}.png`) });
  if (also) {
    writeFileSync(also, image);
  }
}

function statusBar(text) {
  return page.locator(".statusbar-item[id^='ploke.ploke-io']").filter({ hasText: text });
}

async function shownPid() {
  await editor.run("Ploke: Show Server Status");
  const report = page.locator(".tab.active").filter({ hasText: "ploke-io status" });
  const refusal = page.locator(".notifications-toasts .notification-list-item").filter({ hasText: "ploke-io: " });
  await report.or(refusal).first().waitFor();
  if (await refusal.isVisible()) {
    await editor.dismissNotifications();
    throw new Error("there is no status to show");
  }
  const text = await editor.until("the status report", async () => /process (\d+)/.exec(await editor.shownText()));
  return Number(text[1]);
}

/** The servers that this editor has started and that still run. */
function serverProcesses() {
  return readdirSync("/proc").filter((pid) => {
    try {
      const [program] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return program === binary && readFileSync(`/proc/${pid}/environ`, "utf8").includes(`PLOKE_PROBE_DIR=${editor.probe}\0`);
    } catch {
      return false; // no process, or gone meanwhile
    }
  });
}

async function shownRoots() {
  await shownPid();
  const text = await editor.shownText();
  return [...text.matchAll(/^ {2}(file:.*)$/gm)].map(([, root]) => root);
}

async function previewFromClipboard(edits) {
  await page.evaluate((text) => navigator.clipboard.writeText(text), JSON.stringify(edits));
  await editor.run("Ploke: Preview and Apply Edits");
  await editor.pick("From the Clipboard");
}

/** Runs a command of the probe, allows what it asks for after looking at it, and returns what it got. */
async function probe(title, name, { allow = [], shows = [] } = {}) {
  await editor.run(`Probe: ${title}`);
  for (const question of allow) {
    const dialog = page.locator(".monaco-dialog-box").filter({ hasText: question });
    await dialog.waitFor();
    const text = (await dialog.innerText()).replaceAll("\u00a0", " ");
    for (const part of shows) {
      assert.ok(text.includes(part), `the question does not show ${part}:\n${text}`);
    }
    await screenshot(question.replaceAll(":", ""));
    await dialog.getByRole("button", { name: /^(Allow|Yes|OK|Continue)/ }).first().click();
  }
  const answer = path.join(editor.probe, `${name}.json`);
  await editor.until(`the answer of ${name}`, () => existsSync(answer));
  const got = JSON.parse(readFileSync(answer, "utf8"));
  assert.equal(got.error, undefined);
  return got.ok;
}

function file(name) {
  return path.join(editor.workspace, name);
}

function uri(name) {
  return `file://${file(name)}`;
}

function read(name) {
  return readFileSync(file(name), "utf8");
}

function renameSecond() {
  return {
    label: "rename a function",
    documentChanges: [{ textDocument: { uri: uri("code.rs") }, edits: [{ expectedText: "fn second", newText: "fn renamed" }] }],
  };
}
