#!/usr/bin/env node
// A server of a protocol that the extension does not know.
import * as rpc from "vscode-jsonrpc/node.js";

const { stdin, stdout } = process;
const connection = rpc.createMessageConnection(new rpc.StreamMessageReader(stdin), new rpc.StreamMessageWriter(stdout));
const ploke = { protocol: 2, methods: [], notifications: [] };
connection.onRequest("initialize", () => ({ capabilities: { experimental: { ploke } } }));
connection.onRequest("shutdown", () => null);
connection.onNotification("exit", () => process.exit(0));
connection.listen();
