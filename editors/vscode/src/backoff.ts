const FIRST_MS = 500;
const LONGEST_MS = 30_000;
/** A server that has run this long before it crashed is started again at once. */
const STABLE_MS = 60_000;

/** How long to wait before a crashed server is started again: twice as long each time, at most half a minute. */
export class Backoff {
  private crashes = 0;

  /** The time to wait after a crash, in milliseconds. */
  next(ranForMs: number): number {
    this.crashes = ranForMs >= STABLE_MS ? 1 : this.crashes + 1;
    return Math.min(LONGEST_MS, FIRST_MS * 2 ** (this.crashes - 1));
  }

  /** Crashes that followed one another closely. */
  get inARow(): number {
    return this.crashes;
  }

  reset(): void {
    this.crashes = 0;
  }
}
