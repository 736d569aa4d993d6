import * as fs from "node:fs";
import * as path from "node:path";

/** What decides where a server that was given no folder for its log keeps it. */
export interface Surroundings {
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  home: string;
  /** The folder that the server is started in. */
  serverFolder: string;
}

/** Where the server keeps its log, in the server's own order: what its environment says, else the platform's folder. */
export function logFolder({ env, platform, home, serverFolder }: Surroundings): string {
  return env.PLOKE_IO_LOG_DIR
    ? path.resolve(serverFolder, env.PLOKE_IO_LOG_DIR)
    : path.join(stateFolder(env, platform, home), "ploke-io", "log");
}

/** The log that was written to last; undefined if there is none. */
export function newestLog(folder: string): string | undefined {
  const writtenAt = (file: string): number => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return namesIn(folder)
    .filter((name) => name.startsWith("ploke-io") && name.endsWith(".log"))
    .map((name) => path.join(folder, name))
    .sort((one, other) => writtenAt(other) - writtenAt(one))[0];
}

function stateFolder(env: NodeJS.ProcessEnv, platform: NodeJS.Platform, home: string): string {
  if (platform === "darwin") {
    return path.join(home, "Library", "Application Support");
  }
  if (platform === "win32") {
    return env.LOCALAPPDATA ?? path.join(home, "AppData", "Local");
  }
  const chosen = env.XDG_STATE_HOME ?? "";
  return path.isAbsolute(chosen) ? chosen : path.join(home, ".local", "state");
}

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return []; // there is no log yet, or none that may be read
  }
}
