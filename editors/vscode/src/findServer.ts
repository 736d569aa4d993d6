import * as path from "node:path";

/** What there is to look through for the server. */
export interface Places {
  /** The setting `ploke.server.path`; empty if it is not set. */
  configured: string;
  workspaceFolder: string | undefined;
  extensionFolder: string;
  home: string;
  /** The environment variable `PATH`. */
  searchPath: string;
  platform: NodeJS.Platform;
  isExecutable: (file: string) => boolean;
}

export type Found =
  | { file: string; from: "setting" | "extension" | "PATH" }
  | { missing: string };

/**
 * Finds the program to start: the one of the setting, else the one bundled in the extension, else the first on the `PATH`.
 *
 * A setting that leads nowhere is reported, never silently passed over.
 */
export function findServer(places: Places): Found {
  const name = places.platform === "win32" ? "ploke-io.exe" : "ploke-io";
  if (places.configured !== "") {
    const file = expand(places.configured, places);
    return places.isExecutable(file)
      ? { file, from: "setting" }
      : { missing: `The setting ploke.server.path names ${file}, and no program is there.` };
  }
  const bundled = path.join(places.extensionFolder, "bin", name);
  if (places.isExecutable(bundled)) {
    return { file: bundled, from: "extension" };
  }
  const separator = places.platform === "win32" ? ";" : ":";
  for (const folder of places.searchPath.split(separator).filter((folder) => path.isAbsolute(folder))) {
    const file = path.join(folder, name);
    if (places.isExecutable(file)) {
      return { file, from: "PATH" };
    }
  }
  return { missing: "The program ploke-io is neither bundled with this extension nor on the PATH." };
}

function expand(configured: string, places: Places): string {
  const home = /^~(?=$|[\\/])/;
  const file = configured
    .replace(home, () => places.home)
    .replaceAll("${workspaceFolder}", () => places.workspaceFolder ?? "${workspaceFolder}");
  return path.isAbsolute(file) ? file : path.resolve(places.workspaceFolder ?? places.home, file);
}
