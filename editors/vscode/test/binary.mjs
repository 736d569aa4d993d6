import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as rpc from "vscode-jsonrpc/node.js";

/** The server to test: `PLOKE_IO_BIN`, else what cargo has built. */
export function serverBinary() {
  const target = path.resolve("../../target");
  const candidates = process.env.PLOKE_IO_BIN
    ? [path.resolve(process.env.PLOKE_IO_BIN)]
    : ["release", "debug"].map((profile) => path.join(target, profile, "ploke-io"));
  const found = candidates.find((file) => existsSync(file));
  if (found === undefined) {
    throw new Error(`no server at ${candidates.join(" nor at ")}: run \`cargo build\`, or name one in PLOKE_IO_BIN`);
  }
  return found;
}

/** What the server announces in `capabilities.experimental.ploke`. */
export async function announced(binary) {
  const server = spawn(binary, [], { stdio: ["pipe", "pipe", "ignore"], cwd: os.tmpdir() });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  const connection = rpc.createMessageConnection(
    new rpc.StreamMessageReader(server.stdout),
    new rpc.StreamMessageWriter(server.stdin),
  );
  connection.listen();
  const { capabilities } = await connection.sendRequest("initialize", { processId: process.pid, rootUri: null, capabilities: {} });
  await connection.sendRequest("shutdown");
  await connection.sendNotification("exit");
  await ended;
  connection.dispose();
  return capabilities.experimental.ploke;
}
