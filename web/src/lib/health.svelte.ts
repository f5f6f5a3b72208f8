/** How the engine is, asked gently: seldom while all is well, often while it is not. */

import { ApiError, getHealth } from "./api";

export type EngineState = "unknown" | "ready" | "loading" | "down" | "unreachable";

const CALM_MS = 15_000;
const WAITING_MS = 2_000;
const TIMEOUT_MS = 5_000;
const NEWS_MS = 8_000;

class HealthMonitor {
  state = $state<EngineState>("unknown");
  model = $state<string | null>(null);
  message = $state<string | null>(null);
  version = $state<string | null>(null);
  /** For a moment after the reader had to wait: what became of it. */
  news = $state<"loaded" | "back" | null>(null);

  /** The state as the mark shows it; while nothing is known yet, the best is assumed. */
  fire = $derived<"lit" | "embers" | "out">(
    this.state === "loading"
      ? "embers"
      : this.state === "down" || this.state === "unreachable"
        ? "out"
        : "lit",
  );

  #timer: ReturnType<typeof setTimeout> | undefined;
  #newsTimer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #wasAway = false;

  /** Starts asking; pauses while nobody looks at the page. Call once. */
  start(): void {
    document.addEventListener("visibilitychange", () => this.check());
    addEventListener("online", () => this.check());
    this.check();
  }

  /** Asks now, for example because a request has just failed. */
  check(): void {
    clearTimeout(this.#timer);
    if (document.hidden || this.#asking) return;
    this.#asking = true;
    void this.#ask().finally(() => {
      this.#asking = false;
      const wait = this.state === "ready" ? CALM_MS : WAITING_MS;
      if (!document.hidden) this.#timer = setTimeout(() => this.check(), wait);
    });
  }

  async #ask(): Promise<void> {
    try {
      const health = await getHealth(AbortSignal.timeout(TIMEOUT_MS));
      this.version = health.version;
      this.model = health.engine.model;
      this.message = health.engine.message;
      this.#become(health.engine.status);
    } catch (error) {
      this.message = error instanceof ApiError ? error.message : null;
      this.#become("unreachable");
    }
  }

  #become(state: EngineState): void {
    const before = this.state;
    this.state = state;
    if (before === state) return;
    clearTimeout(this.#newsTimer);
    this.news = null;
    if (state === "down" || state === "unreachable") this.#wasAway = true;
    if (state !== "ready" || before === "unknown") return;
    this.news = this.#wasAway ? "back" : "loaded";
    this.#wasAway = false;
    this.#newsTimer = setTimeout(() => (this.news = null), NEWS_MS);
  }
}

export const health = new HealthMonitor();
