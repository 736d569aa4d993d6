import * as vscode from "vscode";
import type { WatchStatus } from "./protocol";
import { messageOf, type State } from "./server";
import type { Session } from "./session";

/** How often the numbers are asked for while the window has the focus. */
const REFRESH_MS = 5000;
/** Changes that are pending are told soon. */
const PENDING_MS = 300;

const ICONS: Record<State, string> = {
  untrusted: "$(shield)",
  stopped: "$(circle-slash)",
  starting: "$(loading~spin)",
  running: "$(eye)",
  restarting: "$(loading~spin)",
  failed: "$(error)",
};

/** Shows the state of the server, how it watches, and how many changes it is about to tell. */
export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("ploke.status", vscode.StatusBarAlignment.Left, 10);
  private readonly subscriptions: vscode.Disposable[];
  private watch: WatchStatus | undefined;
  private soon: NodeJS.Timeout | undefined;

  constructor(private readonly session: Session) {
    this.item.name = "ploke-io";
    this.item.command = "ploke.showStatus";
    const timer = setInterval(() => vscode.window.state.focused && void this.refresh(), REFRESH_MS);
    this.subscriptions = [
      this.item,
      { dispose: () => clearInterval(timer) },
      { dispose: () => clearTimeout(this.soon) },
      session.server.onStateChanged(() => void this.refresh()),
      session.server.onFileChanged(() => void this.refresh()),
    ];
    this.show();
    this.item.show();
  }

  dispose(): void {
    vscode.Disposable.from(...this.subscriptions).dispose();
  }

  private async refresh(): Promise<void> {
    let watch: WatchStatus | undefined;
    if (this.session.server.state === "running") {
      try {
        ({ watch } = await this.session.status());
      } catch (error) {
        this.session.server.log.debug(messageOf(error)); // it ended meanwhile, and the state says so
      }
    }
    this.watch = watch;
    this.show();
    clearTimeout(this.soon);
    if (this.watch && (this.watch.pending > 0 || this.watch.state === "starting")) {
      this.soon = setTimeout(() => void this.refresh(), PENDING_MS);
    }
  }

  private show(): void {
    const { state, pid, reason } = this.session.server;
    const mode = state === "running" ? (this.watch?.state ?? "running") : state;
    const pending = this.watch?.pending ? ` ${this.watch.pending}` : "";
    this.item.text = `${ICONS[state]} ploke: ${mode}${pending}`;
    this.item.tooltip = [
      `ploke-io: ${state}${reason ? ` (${reason})` : ""}`,
      ...(pid === undefined ? [] : [`process ${pid}`]),
      ...(this.watch ? [`${this.watch.watches} watches, ${this.watch.pending} changes pending`] : []),
    ].join("\n");
    this.item.backgroundColor = state === "failed" ? new vscode.ThemeColor("statusBarItem.errorBackground") : undefined;
  }
}
