import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { type TestContext, test } from "node:test";
import { logFolder, newestLog } from "../../src/serverLog";

void test("the log is looked for where the server puts it", () => {
  const cases = [
    [{}, "linux", "/home/me/.local/state/ploke-io/log"],
    [{ XDG_STATE_HOME: "/state" }, "linux", "/state/ploke-io/log"],
    [{ XDG_STATE_HOME: "relative" }, "linux", "/home/me/.local/state/ploke-io/log"],
    [{ XDG_STATE_HOME: "/state" }, "darwin", "/home/me/Library/Application Support/ploke-io/log"],
    [{ LOCALAPPDATA: "/local" }, "win32", "/local/ploke-io/log"],
    [{ PLOKE_IO_LOG_DIR: "/mine", XDG_STATE_HOME: "/state" }, "linux", "/mine"],
    [{ PLOKE_IO_LOG_DIR: "logs" }, "linux", "/projects/logs"],
  ] as const;
  for (const [env, platform, folder] of cases) {
    assert.equal(logFolder({ env, platform, home: "/home/me", serverFolder: "/projects" }), folder);
  }
});

void test("the log that was written to last is the newest, whatever its name", (context) => {
  const folder = logsIn(context, { "ploke-io.2026-01-01.log": 20, "ploke-io.2026-01-02.log": 10, "other.txt": 30 });
  assert.equal(newestLog(folder), path.join(folder, "ploke-io.2026-01-01.log"));
});

void test("without a log, or a folder for it, there is no newest one", (context) => {
  const folder = logsIn(context, { "other.txt": 30 });
  assert.equal(newestLog(folder), undefined);
  assert.equal(newestLog(path.join(folder, "gone")), undefined);
});

/** A folder of files that were written to so many seconds after the epoch. */
function logsIn(context: TestContext, writtenAt: Record<string, number>): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ploke-logs-"));
  context.after(() => fs.rmSync(folder, { recursive: true }));
  for (const [name, seconds] of Object.entries(writtenAt)) {
    fs.writeFileSync(path.join(folder, name), "");
    fs.utimesSync(path.join(folder, name), seconds, seconds);
  }
  return folder;
}
