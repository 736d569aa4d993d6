import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { blake3 } from "@noble/hashes/blake3.js";
import {
  createMessageConnection,
  type Message,
  type MessageConnection,
  NotificationType,
  ParameterStructures,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from "vscode-jsonrpc/node";

/** A header line of a transcript, without its dashes, and what stands below it. */
export interface Step {
  line: number;
  words: string[];
  body: string[];
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Outcome = { result: Json } | { error: Json };

/** Longest wait for one message, in milliseconds. */
const PATIENCE_MS = 60_000;
/** What a client library can not send, or what is not known here: such transcripts are left to the server's own tests. */
const UNSUPPORTED = /^-- (> raw|> frame|close|exit|no-init|link|mode|fs chmod)\b|\$(TRACKING|URI)\(|escaped$|\\x/m;
const SUPPORTED = /^(file|dir|init|watching|cancel|disk|absent|fs (write|append|rename|remove|mkdir)|> \S+|< notify|< \S+ (ok|error))\b/;

/** Undefined if the transcript has steps that are not replayed here. */
export function parseTranscript(text: string): Step[] | undefined {
  if (UNSUPPORTED.test(text) || (/^marks:.*not-root/m.test(text) && os.userInfo().uid === 0)) {
    return undefined;
  }
  const steps: Step[] = [];
  for (const [index, line] of text.replace(/\n$/, "").split("\n").entries()) {
    if (line.startsWith("-- ")) {
      if (!SUPPORTED.test(line.slice(3))) {
        return undefined;
      }
      steps.push({ line: index + 1, words: line.slice(3).split(/\s+/), body: [] });
    } else {
      steps.at(-1)?.body.push(line);
    }
  }
  return steps;
}

/** Replays a transcript through the JSON-RPC library of the language client, against the real server. */
export async function replay(binary: string, steps: Step[]): Promise<void> {
  const home = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "ploke-transcript-"));
  const root = path.join(home, "root");
  fs.mkdirSync(root);
  const isSetUp = ({ words: [word] }: Step): boolean => ["file", "dir", "init"].includes(word ?? "");
  const [setUp, rest] = [steps.filter(isSetUp), steps.filter((step) => !isSetUp(step))];
  const values = new Values(root);
  let session: Session | undefined;
  try {
    for (const step of setUp.filter(({ words }) => words[0] !== "init")) {
      change(root, step);
    }
    session = new Session(binary, home, values);
    await session.start(setUp.find(({ words }) => words[0] === "init"));
    for (const step of rest) {
      try {
        await session.run(step);
      } catch (error) {
        throw new Error(`line ${step.line}, -- ${step.words.join(" ")}`, { cause: error });
      }
    }
    await session.end();
  } finally {
    session?.kill();
    fs.rmSync(home, { recursive: true, force: true });
  }
}

class Session {
  private readonly server: ChildProcess;
  private readonly ended: Promise<number | null>;
  private readonly connection: MessageConnection;
  private readonly responses = new Map<string, Promise<Outcome>>();
  private readonly notifications: { method: string; params: Json }[] = [];
  private arrived: () => void = () => undefined;
  /** The ids that the library gave to requests, and those of the transcript. */
  private readonly ids = new Map<Json, Json>();
  private lastSent: Json = null;

  constructor(
    binary: string,
    home: string,
    private readonly values: Values,
  ) {
    const env = { ...process.env, HOME: home, XDG_STATE_HOME: path.join(home, "state") };
    const server = spawn(binary, ["--stdio"], { env, stdio: ["pipe", "pipe", "inherit"] });
    this.server = server;
    this.ended = new Promise((resolve) => server.once("exit", resolve));
    const writer = new StreamMessageWriter(server.stdin);
    const write = writer.write.bind(writer);
    writer.write = (message: Message) => {
      this.lastSent = (message as Message & { id?: Json }).id ?? this.lastSent;
      return write(message);
    };
    this.connection = createMessageConnection(new StreamMessageReader(server.stdout), writer);
    const take = (method: string, params: unknown): void => {
      this.notifications.push({ method, params: this.withOwnIds(params as Json) });
      this.arrived();
    };
    this.connection.onNotification(take);
    this.connection.onUnhandledProgress((params) => take("$/progress", params));
    this.connection.listen();
  }

  async start(init: Step | undefined): Promise<void> {
    const params = {
      processId: null,
      rootUri: null,
      capabilities: {},
      workspaceFolders: [{ uri: this.values.rootUri, name: "root" }],
      initializationOptions: { watch: { enabled: false, debounceMs: 300 }, log: { level: "off" } },
    };
    const patch = init === undefined ? {} : this.values.put(json(init));
    await this.connection.sendRequest("initialize", merged(params, patch));
    await this.connection.sendNotification("initialized", {});
  }

  async run(step: Step): Promise<void> {
    const [word, first = "", second = ""] = step.words;
    if (word === ">" && first === "notify") {
      await this.connection.sendNotification(new NotificationType(second), this.values.put(json(step)));
    } else if (word === ">") {
      this.request(JSON.parse(first) as Json, second, step.body.join("").trim() === "" ? undefined : this.values.put(json(step)));
    } else if (word === "cancel") {
      const own = JSON.parse(first) as Json;
      const [sent] = [...this.ids].find(([, id]) => id === own) ?? [own];
      await this.connection.sendNotification("$/cancelRequest", { id: sent });
    } else if (word === "<" && first === "notify") {
      this.values.compare(json(step), await this.notification(second));
    } else if (word === "<") {
      const outcome = await within(this.responses.get(first) ?? Promise.reject(new Error("there was no such request")));
      this.responses.delete(first);
      this.values.compare({ [second === "ok" ? "result" : "error"]: json(step) }, outcome);
    } else if (word === "watching") {
      await this.watching();
    } else if (word === "disk") {
      assert.equal(fs.readFileSync(path.join(this.values.root, first), "utf8"), content(step, 2));
    } else if (word === "absent") {
      assert.equal(fs.existsSync(path.join(this.values.root, first)), false);
    } else {
      change(this.values.root, step);
    }
  }

  async end(): Promise<void> {
    await within(this.connection.sendRequest("shutdown"));
    await this.connection.sendNotification("exit");
    assert.equal(await within(this.ended), 0);
    assert.deepEqual([this.notifications, [...this.responses.keys()]], [[], []], "messages that no step claims");
  }

  kill(): void {
    this.connection.dispose();
    if (this.server.exitCode === null) {
      this.server.kill();
    }
  }

  private request(id: Json, method: string, params: Json | undefined): void {
    const sent =
      params === undefined
        ? this.connection.sendRequest<Json>(method)
        : this.connection.sendRequest<Json>(method, ParameterStructures.byName, params);
    this.ids.set(this.lastSent, id);
    const outcome = sent.then(
      (result): Outcome => ({ result: this.withOwnIds(result) }),
      (error: unknown): Outcome => {
        if (!(error instanceof ResponseError)) {
          throw error;
        }
        const { code, message, data } = error as ResponseError<Json>;
        return { error: { code, message, ...(data !== undefined && { data }) } };
      },
    );
    outcome.catch(() => undefined); // whoever waits for it is told
    this.responses.set(JSON.stringify(id), outcome);
  }

  private async notification(method: string): Promise<Json> {
    for (;;) {
      const at = this.notifications.findIndex((notification) => notification.method === method);
      const [found] = at < 0 ? [] : this.notifications.splice(at, 1);
      if (found) {
        return found.params;
      }
      await within(new Promise<void>((resolve) => (this.arrived = resolve)));
    }
  }

  private async watching(): Promise<void> {
    interface Status {
      watch: { state: string };
    }
    let state: string;
    do {
      ({ state } = (await within(this.connection.sendRequest<Status>("ploke/status", {}))).watch);
    } while (state === "starting");
    assert.ok(["watching", "polling"].includes(state), state);
  }

  private withOwnIds(message: Json): Json {
    return mapped(message, (value, key) => (key === "requestId" && this.ids.has(value) ? (this.ids.get(value) ?? null) : value));
  }
}

/** What `$...` stands for in a transcript. */
class Values {
  readonly rootUri: string;
  private readonly captured = new Map<string, Json>();

  constructor(readonly root: string) {
    this.rootUri = `file://${encodeURI(root)}`;
  }

  /** A message to send. */
  put(template: Json): Json {
    return this.replaced(template, (name) => {
      const value = this.captured.get(name);
      assert.ok(value !== undefined, `nothing was captured as $ANY(${name})`);
      return value;
    });
  }

  /** Throws where the message is not what the pattern says. */
  compare(template: Json, actual: Json): void {
    const pattern = this.replaced(template, (name) => `$ANY(${name})`);
    const completed = this.completed(pattern, actual);
    assert.deepEqual(actual, completed);
  }

  /** The pattern with everything in it that does not matter as it is in the message. */
  private completed(pattern: Json, actual: Json | undefined): Json {
    if (Array.isArray(pattern)) {
      const isOpen = pattern.at(-1) === "..";
      const elements = isOpen ? pattern.slice(0, -1) : pattern;
      const other = Array.isArray(actual) ? actual : [];
      const more = isOpen ? other.slice(elements.length) : [];
      return [...elements.map((element, index) => this.completed(element, other[index])), ...more];
    }
    if (typeof pattern === "object" && pattern !== null) {
      const other = typeof actual === "object" && actual !== null && !Array.isArray(actual) ? actual : {};
      const { "..": open, ...members } = pattern;
      const own = Object.entries(members).map(([key, value]) => [key, this.completed(value, other[key])] as const);
      return { ...(open === undefined ? {} : other), ...Object.fromEntries(own) };
    }
    return typeof pattern === "string" && actual !== undefined && this.textMatches(pattern, actual) ? actual : pattern;
  }

  private textMatches(pattern: string, actual: Json): boolean {
    const name = /^\$ANY\((.*)\)$/.exec(pattern)?.[1];
    if (name !== undefined) {
      this.captured.set(name, this.captured.get(name) ?? actual);
      return this.captured.get(name) === actual;
    }
    const part = /^\.\.(.+)\.\.$/s.exec(pattern)?.[1];
    return pattern === ".." || (part !== undefined && typeof actual === "string" && actual.includes(part));
  }

  private replaced(template: Json, any: (name: string) => Json): Json {
    return mapped(template, (value) => {
      if (typeof value !== "string") {
        return value;
      }
      const [, call, argument = ""] = /^\$(HASH|ANY)\((.*)\)$/s.exec(value) ?? [];
      if (call === "ANY") {
        return any(argument);
      }
      return call === "HASH" ? Buffer.from(blake3(Buffer.from(this.text(argument)))).toString("hex") : this.text(value);
    });
  }

  private text(text: string): string {
    return text
      .replaceAll("$ROOT", this.rootUri)
      .replaceAll("$DIR", this.root)
      .replace(/\$FILL\((\d+)\)/g, (_, count: string) => "x".repeat(Number(count)));
  }
}

/** A change of files: by a set-up step, or from outside. */
function change(root: string, { words, ...rest }: Step): void {
  const [kind, ...names] = words[0] === "fs" ? words.slice(1) : words;
  const [file = "", other = ""] = names.map((name) => path.join(root, name));
  const step = { words, ...rest };
  const nameAt = words[0] === "fs" ? 2 : 1;
  switch (kind) {
    case "file":
    case "write":
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, content(step, nameAt + 1));
      break;
    case "append":
      fs.appendFileSync(file, content(step, nameAt + 1));
      break;
    case "dir":
    case "mkdir":
      fs.mkdirSync(file, { recursive: true });
      break;
    case "rename":
      fs.renameSync(file, other);
      break;
    case "remove":
      fs.rmSync(file, { recursive: true });
      break;
    default:
      throw new Error(`unknown step: ${words.join(" ")}`);
  }
}

function content({ words, body }: Step, optionAt: number): string {
  const times = /^times=(\d+)$/.exec(words[optionAt] ?? "")?.[1] ?? "1";
  return body.map((line) => `${line}\n`).join("").repeat(Number(times));
}

function json({ body }: Step): Json {
  return JSON.parse(body.join("\n")) as Json;
}

/** Every value of a message, and the keys of its objects, from the inside out. */
function mapped(value: Json, change: (value: Json, key?: string) => Json, key?: string): Json {
  if (Array.isArray(value)) {
    return change(value.map((element) => mapped(element, change)), key);
  }
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(([name, member]) => {
      const newName = change(name);
      return [typeof newName === "string" ? newName : name, mapped(member, change, name)] as const;
    });
    return change(Object.fromEntries(members), key);
  }
  return change(value, key);
}

/** The patch merged over the target; null in it removes. */
function merged(target: Json, patch: Json): Json {
  const isObject = (value: Json | undefined): value is Record<string, Json> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(target) || !isObject(patch)) {
    return patch;
  }
  const result = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      Reflect.deleteProperty(result, key);
    } else {
      result[key] = merged(result[key] ?? {}, value);
    }
  }
  return result;
}

function within<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no message came")), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
