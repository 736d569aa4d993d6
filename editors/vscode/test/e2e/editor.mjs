import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { chromium } from "playwright-core";

/** Longest wait for one thing to happen, in milliseconds; the machine may be busy. */
const LIMIT_MS = Number(process.env.E2E_LIMIT_MS ?? 120_000);
/** After this one tries again what may have failed because the editor was still loading. */
const TRY_MS = 5_000;

const CHROMIUM_ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A code-server with extensions installed, in folders of its own, and a browser that shows a workspace in it. */
export class Editor {
  #folder = mkdtempSync(path.join(os.tmpdir(), "ploke-vscode-"));
  #server;
  #browser;
  #address;
  page;

  constructor(codeServer, extensions, settings) {
    this.codeServer = codeServer;
    this.workspace = this.#makeFolder("workspace");
    this.probe = this.#makeFolder("probe");
    this.setUserSettings(settings);
    for (const extension of extensions) {
      const { status, stderr } = spawnSync(this.codeServer.node, this.#arguments("--install-extension", extension), {
        encoding: "utf8",
        env: this.#environment(),
      });
      if (status !== 0) {
        throw new Error(`installing ${extension}: ${stderr}`);
      }
    }
  }

  /** They count from the next load on. */
  setUserSettings(settings) {
    // A remote window, as this one is, may take settings of machine scope from the second place only.
    for (const folder of ["data/User", "data/Machine"]) {
      writeFileSync(path.join(this.#makeFolder(folder), "settings.json"), JSON.stringify(settings));
    }
  }

  /** They count at once. */
  setWorkspaceSettings(settings) {
    writeFileSync(path.join(this.#makeFolder("workspace/.vscode"), "settings.json"), JSON.stringify(settings));
  }

  async open() {
    const options = ["--auth", "none", "--bind-addr", "127.0.0.1:0", "--disable-telemetry", "--disable-update-check"];
    const more = ["--disable-getting-started-override", this.workspace];
    this.#server = spawn(this.codeServer.node, this.#arguments(...options, ...more), { env: this.#environment() });
    this.#address = await this.#listening();
    this.#browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: CHROMIUM_ARGUMENTS });
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 800 } });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(this.#address).origin });
    context.setDefaultTimeout(LIMIT_MS);
    this.page = await context.newPage();
    await this.load("folder", this.workspace);
  }

  /** Loads a `folder`, or the `workspace` of a file of several folders, in place of what is shown. */
  async load(kind, place) {
    await this.page.goto(`${this.#address}?${kind}=${encodeURIComponent(place)}`);
    await this.page.locator(".monaco-workbench .part.statusbar").waitFor();
  }

  /** Whether the editor lists a folder of its workspace. Busy, it may take the file of the workspace for empty, and stay so. */
  showsFolder(name) {
    const row = this.page.locator(".explorer-folders-view .monaco-list-row").filter({ hasText: name }).first();
    return row.waitFor({ timeout: LIMIT_MS / 6 }).then(
      () => true,
      () => false,
    );
  }

  async close() {
    await this.#browser?.close();
    if (this.#server && this.#server.exitCode === null) {
      const ended = new Promise((resolve) => this.#server.once("exit", resolve));
      this.#server.kill();
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Runs a command of the palette by its full title. */
  async run(title) {
    await this.#quickInput("F1", `>${title}`, title);
  }

  /** Takes an entry of the list that is shown. */
  async pick(label) {
    await this.page.locator(".quick-input-list .monaco-list-row").filter({ hasText: label }).first().click();
  }

  /** Opens a file of the workspace, and waits until its text is shown. */
  async openFile(name) {
    const text = readFileSync(path.join(this.workspace, name), "utf8").split("\n")[0];
    await this.#quickInput("Control+P", name, name);
    await this.page.locator(".tab.active").filter({ hasText: name }).waitFor();
    await this.until(`the text of ${name}`, async () => (await this.shownText()).startsWith(text));
  }

  /** The text that the active editor shows. */
  async shownText() {
    const lines = await this.page.locator(".editor-group-container.active .view-lines").last().innerText();
    return lines.replaceAll("\u00a0", " ");
  }

  /** A message in the corner, once it is shown. */
  async notification(text) {
    const message = this.page.locator(".notifications-toasts .notification-list-item").filter({ hasText: text }).first();
    await message.waitFor();
    return message;
  }

  async dismissNotifications() {
    await this.run("Notifications: Clear All Notifications");
    await this.until("no notification", async () => (await this.page.locator(".notification-list-item:visible").count()) === 0);
  }

  /** Waits until the condition gives something true, and returns that. */
  async until(what, condition) {
    const end = Date.now() + LIMIT_MS;
    for (;;) {
      const got = await condition();
      if (got) {
        return got;
      }
      if (Date.now() > end) {
        throw new Error(`waited in vain for: ${what}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** While the editor loads it may close what was just opened: then it is opened again. */
  async #quickInput(key, text, label) {
    const row = this.page.locator(".quick-input-list .monaco-list-row").filter({ hasText: label }).first();
    await this.until(`${label} in the list`, async () => {
      try {
        await this.page.keyboard.press(key);
        await this.page.locator(".quick-input-widget input.input").fill(text, { timeout: TRY_MS });
        await row.click({ timeout: TRY_MS });
        return true;
      } catch {
        await this.page.keyboard.press("Escape");
        return false;
      }
    });
  }

  #listening() {
    return new Promise((resolve, reject) => {
      let output = "";
      const take = (data) => {
        output += data;
        const listening = /listening on (http:\/\/127\.0\.0\.1:\d+\/)/.exec(output);
        if (listening) {
          resolve(listening[1]);
        }
      };
      this.#server.stdout.on("data", take);
      this.#server.stderr.on("data", take);
      this.#server.once("exit", (code) => reject(new Error(`code-server ended with code ${code}:\n${output}`)));
    });
  }

  #arguments(...more) {
    const folders = ["--user-data-dir", path.join(this.#folder, "data"), "--extensions-dir", this.#makeFolder("extensions")];
    return [this.codeServer.entry, ...folders, "--config", path.join(this.#folder, "none.yaml"), ...more];
  }

  #environment() {
    return {
      ...process.env,
      XDG_STATE_HOME: this.#makeFolder("state"),
      XDG_CONFIG_HOME: this.#makeFolder("config"),
      PLOKE_PROBE_DIR: this.probe,
    };
  }

  #makeFolder(name) {
    const folder = path.join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }
}
