import type { FileChange } from "./protocol";

/** One line of the list of recent changes. */
export interface ListedChange {
  id: number;
  change: FileChange;
  at: Date;
  /** The last text that was known before the change, where one was. */
  before: string | undefined;
}

/** Who made a change: `labels` knows the requests of this editor by origin. */
export function whoMade(change: FileChange, labels: ReadonlyMap<string, string>): string {
  const label = change.origin === null ? undefined : labels.get(change.origin);
  if (change.requestId !== null) {
    return `request: ${label ?? change.requestId}`;
  }
  if (change.by) {
    return `other client: ${change.by.client} (${change.by.pid})`;
  }
  return change.origin === null ? "outside" : "other client";
}

/** The newest changes first, bounded in number. */
export class RecentChanges {
  private listed: ListedChange[] = [];
  private lastId = 0;

  constructor(private limit: number) {}

  get all(): readonly ListedChange[] {
    return this.listed;
  }

  setLimit(limit: number): void {
    this.limit = limit;
    this.listed.length = Math.min(this.listed.length, limit);
  }

  add(change: Omit<ListedChange, "id">): void {
    this.listed.unshift({ ...change, id: ++this.lastId });
    this.setLimit(this.limit);
  }

  clear(): void {
    this.listed = [];
  }
}

/** Texts by URI, bounded in characters; the one used least recently goes first. */
export class TextCache {
  private readonly texts = new Map<string, string>();
  private characters = 0;

  constructor(private readonly limit: number) {}

  get(uri: string): string | undefined {
    return this.texts.get(uri);
  }

  set(uri: string, text: string): void {
    this.delete(uri);
    if (text.length > this.limit) {
      return;
    }
    this.texts.set(uri, text);
    this.characters += text.length;
    for (const [oldest] of this.texts) {
      if (this.characters <= this.limit) {
        return;
      }
      this.delete(oldest);
    }
  }

  delete(uri: string): void {
    this.characters -= this.texts.get(uri)?.length ?? 0;
    this.texts.delete(uri);
  }
}
