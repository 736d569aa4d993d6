import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as vscode from "vscode";
import { CloseAction, ErrorAction, LanguageClient, RevealOutputChannelOn } from "vscode-languageclient/node";
import { Backoff } from "./backoff";
import { type Found, findServer } from "./findServer";
import { type FileChangedParams, type InitializationOptions, PROTOCOL, type PlokeCapabilities } from "./protocol";

export type State = "untrusted" | "stopped" | "starting" | "running" | "restarting" | "failed";

/** Finishing the transactions that a crash has left may take a while. */
const START_LIMIT_MS = 60_000;
/** Writes that have begun are finished first. */
const STOP_LIMIT_MS = 5_000;
/** How long a request waits for a server that is about to run. */
const REQUEST_PATIENCE_MS = 10_000;
/** Crashes in a row after which a person is told. */
const CRASHES_WORTH_TELLING = 3;

/** Keeps one server process running, from the moment the workspace is trusted until the extension ends. */
export class Server implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel("ploke-io", { log: true });
  private readonly trace = vscode.window.createOutputChannel("ploke-io trace");
  private readonly stateChanged = new vscode.EventEmitter<State>();
  private readonly fileChanged = new vscode.EventEmitter<FileChangedParams>();
  readonly onStateChanged = this.stateChanged.event;
  readonly onFileChanged = this.fileChanged.event;

  private readonly backoff = new Backoff();
  private current: { client: LanguageClient; process: ChildProcess } | undefined;
  private restartTimer: NodeJS.Timeout | undefined;
  private currentState: State = "stopped";
  /** Why there is no server, for people. */
  reason = "";
  /** Starts and stops one after the other. */
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly extensionFolder: string) {}

  get state(): State {
    return this.currentState;
  }

  get pid(): number | undefined {
    return this.current?.process.pid;
  }

  /** The folder that the process is started in. */
  get folder(): string {
    return vscode.workspace.workspaceFolders?.find(({ uri }) => uri.scheme === "file")?.uri.fsPath ?? process.cwd();
  }

  get capabilities(): PlokeCapabilities | undefined {
    return this.state === "running" ? capabilitiesOf(this.current?.client) : undefined;
  }

  has(method: string): boolean {
    return this.capabilities?.methods.includes(method) ?? false;
  }

  /** Starts the server, or starts it anew; what is wrong is told to the user. */
  restart(): Promise<void> {
    this.backoff.reset();
    return this.enqueue(async () => {
      await this.stopNow();
      await this.startNow();
    });
  }

  /** Sends a request, once a server that is starting runs. Rejected if none does. */
  async request<R>(method: string, params: unknown, token?: vscode.CancellationToken): Promise<R> {
    await this.settled();
    if (this.current === undefined || this.state !== "running") {
      throw new Error(`ploke-io does not run: ${this.reason || this.state}`);
    }
    const { client } = this.current;
    return token === undefined ? client.sendRequest<R>(method, params) : client.sendRequest<R>(method, params, token);
  }

  dispose(): Promise<void> {
    return this.enqueue(async () => {
      await this.stopNow();
      for (const owned of [this.log, this.trace, this.stateChanged, this.fileChanged]) {
        owned.dispose();
      }
    });
  }

  /** Waits for a server that is starting or about to be started again, but not for a long back-off. */
  private async settled(): Promise<void> {
    const isComing = (): boolean => ["starting", "restarting", "stopped"].includes(this.state);
    const end = Date.now() + REQUEST_PATIENCE_MS;
    while (isComing() && Date.now() < end) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          subscription.dispose();
          resolve();
        };
        const timer = setTimeout(done, end - Date.now());
        const subscription = this.onStateChanged(done);
      });
    }
  }

  private enqueue(task: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(task, task);
    return this.queue;
  }

  private async startNow(): Promise<void> {
    if (!vscode.workspace.isTrusted) {
      this.enter("untrusted", "the workspace is not trusted");
      return;
    }
    this.enter("starting");
    const found = this.find();
    if ("missing" in found) {
      this.fail(found.missing);
      return;
    }
    this.log.info(`starting ${found.file}, found by ${found.from}`);
    let entry: typeof this.current;
    try {
      const process = await this.spawn(found.file);
      entry = this.current = { process, client: this.makeClient(process) };
      await within(START_LIMIT_MS, entry.client.start());
    } catch (error) {
      await this.stopNow();
      this.fail(`${found.file} could not be started: ${messageOf(error)}`);
      return;
    }
    const protocol = capabilitiesOf(entry.client)?.protocol;
    if (protocol !== PROTOCOL) {
      await this.stopNow();
      const spoken = protocol === undefined ? "does not speak the ploke-io protocol" : `speaks protocol ${protocol}`;
      this.fail(`${found.file} ${spoken}; this extension needs protocol ${PROTOCOL}. Update one of them.`);
      return;
    }
    this.enter("running");
  }

  private async stopNow(): Promise<void> {
    clearTimeout(this.restartTimer);
    const { current } = this;
    this.current = undefined;
    try {
      await current?.client.dispose(STOP_LIMIT_MS);
    } catch (error) {
      this.log.debug(`stopping: ${messageOf(error)}`); // it may have died before, or never come up
      current?.process.kill();
    }
    this.enter("stopped");
  }

  private crashed(process: ChildProcess, ranForMs: number): void {
    if (this.current?.process !== process || this.state !== "running") {
      return;
    }
    process.kill(); // it may have closed its output only
    const wait = this.backoff.next(ranForMs);
    this.log.error(`the server ended unexpectedly; it is started again in ${wait} ms`);
    this.enter("restarting", "it ended unexpectedly and is about to be started again");
    if (this.backoff.inARow === CRASHES_WORTH_TELLING) {
      void this.tell("ploke-io has ended unexpectedly several times. It is started again, ever more slowly.");
    }
    this.restartTimer = setTimeout(() => {
      void this.enqueue(async () => {
        await this.stopNow();
        await this.startNow();
      });
    }, wait);
  }

  private makeClient(process: ChildProcess): LanguageClient {
    const startedAt = Date.now();
    const client = new LanguageClient("ploke", "ploke-io", () => Promise.resolve(process), {
      documentSelector: [{ scheme: "file" }],
      initializationOptions: initializationOptions(),
      outputChannel: this.log,
      traceOutputChannel: this.trace,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          this.crashed(process, Date.now() - startedAt);
          return { action: CloseAction.DoNotRestart, handled: true, message: "the connection is closed" };
        },
      },
    });
    client.onNotification("ploke/fileChanged", (params: FileChangedParams) => this.fileChanged.fire(params));
    return client;
  }

  private spawn(file: string): Promise<ChildProcess> {
    const child = spawn(file, ["--stdio"], { cwd: this.folder, stdio: "pipe" });
    child.once("exit", (code, signal) => this.log.info(`process ${child.pid} ended: ${signal ?? `code ${code}`}`));
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("spawn", () => resolve(child));
    });
  }

  private find(): Found {
    return findServer({
      configured: vscode.workspace.getConfiguration("ploke").get("server.path", "").trim(),
      workspaceFolder: vscode.workspace.workspaceFolders?.[0]?.uri.fsPath,
      extensionFolder: this.extensionFolder,
      home: os.homedir(),
      searchPath: process.env.PATH ?? "",
      platform: process.platform,
      isExecutable,
    });
  }

  private fail(reason: string): void {
    this.log.error(reason);
    this.enter("failed", reason);
    void this.tell(reason, "Choose Program…");
  }

  /** Shows what is wrong with buttons to mend it. */
  private async tell(message: string, ...more: "Choose Program…"[]): Promise<void> {
    const answer = await vscode.window.showErrorMessage(message, ...more, "Open Settings", "Open Log");
    if (answer === "Open Log") {
      await vscode.commands.executeCommand("ploke.openLog");
    } else if (answer === "Open Settings") {
      await vscode.commands.executeCommand("workbench.action.openSettings", "ploke.server.path");
    } else if (answer === "Choose Program…") {
      const [chosen] = (await vscode.window.showOpenDialog({ title: "The program ploke-io" })) ?? [];
      const configuration = vscode.workspace.getConfiguration("ploke");
      await (chosen && configuration.update("server.path", chosen.fsPath, vscode.ConfigurationTarget.Global));
    }
  }

  private enter(state: State, reason = ""): void {
    this.currentState = state;
    this.reason = reason;
    void vscode.commands.executeCommand("setContext", "ploke.state", state);
    this.stateChanged.fire(state);
  }
}

function within<T>(limitMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs / 1000} s`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function capabilitiesOf(client: LanguageClient | undefined): PlokeCapabilities | undefined {
  const experimental: unknown = client?.initializeResult?.capabilities.experimental;
  return (experimental as { ploke?: PlokeCapabilities } | undefined)?.ploke;
}

function initializationOptions(): InitializationOptions {
  const settings = vscode.workspace.getConfiguration("ploke");
  return {
    watch: { enabled: settings.get("watch.enabled", true), ignore: settings.get<string[]>("watch.ignore", []) },
    durability: settings.get<"full" | "bestEffort">("durability", "full"),
  };
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
