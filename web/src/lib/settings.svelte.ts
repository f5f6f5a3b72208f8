/** What the reader chose, kept between visits. `public/boot.js` reads theme and locale before the first paint. */

import { i18n, isLocale, type Locale } from "./i18n/i18n.svelte";
import { load, save } from "./storage";

export type Theme = "system" | "light" | "dark";

export const MIN_NEW_TOKENS = 1;
export const MAX_NEW_TOKENS = 8192;
export const MAX_SYSTEM_PROMPT = 8000;

export const DEFAULTS = {
  theme: "system" as Theme,
  /** Null follows the browser. */
  locale: null as Locale | null,
  model: "default",
  temperature: 0.35,
  maxNewTokens: 1024,
  systemPrompt: "",
  shortcuts: true,
};

export type Choices = typeof DEFAULTS;

const inRange = (value: unknown, low: number, high: number): value is number =>
  typeof value === "number" && value >= low && value <= high;

/** Returns the settings in `saved`, each one that is not acceptable replaced by its default. */
export function readChoices(saved: unknown): Choices {
  const s = (typeof saved === "object" && saved !== null ? saved : {}) as Record<string, unknown>;
  const { theme, locale, model, temperature, maxNewTokens, systemPrompt, shortcuts } = s;
  return {
    theme: theme === "light" || theme === "dark" ? theme : DEFAULTS.theme,
    locale: isLocale(locale) ? locale : DEFAULTS.locale,
    model: typeof model === "string" && model !== "" ? model : DEFAULTS.model,
    temperature: inRange(temperature, 0, 2) ? temperature : DEFAULTS.temperature,
    maxNewTokens:
      inRange(maxNewTokens, MIN_NEW_TOKENS, MAX_NEW_TOKENS) && Number.isInteger(maxNewTokens)
        ? maxNewTokens
        : DEFAULTS.maxNewTokens,
    systemPrompt: typeof systemPrompt === "string" ? systemPrompt.slice(0, MAX_SYSTEM_PROMPT) : "",
    shortcuts: typeof shortcuts === "boolean" ? shortcuts : DEFAULTS.shortcuts,
  };
}

class Settings {
  now = $state<Choices>({ ...DEFAULTS });
  #systemDark = $state(false);
  /** The colours in use, after asking the system where the reader left it the choice. */
  dark = $derived(this.now.theme === "system" ? this.#systemDark : this.now.theme === "dark");

  /** Reads what was kept and follows the system's colours. Call once. */
  start(): void {
    this.now = readChoices(load("settings"));
    const current = document.documentElement.lang;
    i18n.use(this.now.locale ?? (isLocale(current) ? current : "en"));
    const query = matchMedia("(prefers-color-scheme: dark)");
    this.#systemDark = query.matches;
    query.addEventListener("change", () => {
      this.#systemDark = query.matches;
      this.#apply();
    });
    this.#apply();
  }

  /** Changes some settings, at once and for the next visit. */
  set(changes: Partial<Choices>): void {
    Object.assign(this.now, changes);
    save("settings", this.now);
    if (changes.locale) i18n.use(changes.locale);
    if (changes.theme) this.#apply();
  }

  /** Puts how answers are made back to the defaults; how the page looks stays. */
  reset(): void {
    const { temperature, maxNewTokens, systemPrompt, shortcuts, model } = DEFAULTS;
    this.set({ temperature, maxNewTokens, systemPrompt, shortcuts, model });
  }

  #apply(): void {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", paper);
  }
}

export const settings = new Settings();
