/**
 * Runs an act for a key at once, then again no sooner than `gapMs` later and never while the last run is under way.
 * Calls in between are joined into one run afterwards, so that the last change is never missed.
 */
export class Pace {
  readonly #act: (key: string) => Promise<unknown>;
  readonly #gapMs: number;
  readonly #again = new Map<string, boolean>();
  #stopped = false;

  constructor(act: (key: string) => Promise<unknown>, gapMs: number) {
    this.#act = act;
    this.#gapMs = gapMs;
  }

  ask(key: string): void {
    if (this.#stopped) return;
    if (this.#again.has(key)) this.#again.set(key, true);
    else void this.#run(key);
  }

  stop(): void {
    this.#stopped = true;
  }

  async #run(key: string): Promise<void> {
    do {
      this.#again.set(key, false);
      const gap = new Promise((resolve) => setTimeout(resolve, this.#gapMs));
      await Promise.allSettled([this.#act(key), gap]);
    } while (this.#again.get(key) === true && !this.#stopped);
    this.#again.delete(key);
  }
}
