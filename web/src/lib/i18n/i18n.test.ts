import { afterEach, describe, expect, it } from "vitest";

import { en, type MessageKey } from "./en";
import { es } from "./es";
import { count, duration, i18n, number, t } from "./i18n.svelte";

const names = (text: string): string[] =>
  [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1] ?? "").sort();
const keys = Object.keys(en) as MessageKey[];

/** Proper names and units are the same in both languages. */
const SAME = new Set<MessageKey>([
  "app.title",
  "turn.model",
  "stats.speed",
  "stats.tokens.one",
  "stats.tokens.other",
  "settings.version",
]);

afterEach(() => i18n.use("en"));

describe("the dictionaries", () => {
  it("hold the same messages", () => {
    expect(Object.keys(es)).toEqual(keys);
  });

  it.each(keys)("%s is said in both languages, with the same values", (key) => {
    expect(es[key].trim()).not.toBe("");
    expect(names(es[key])).toEqual(names(en[key]));
    expect(es[key] === en[key]).toBe(SAME.has(key));
  });
});

describe("the page", () => {
  it("says every message", () => {
    const sources = import.meta.glob<string>(["/src/**/*.{svelte,ts}", "!/src/lib/i18n/e[ns].ts"], {
      query: "?raw",
      import: "default",
      eager: true,
    });
    const page = Object.values(sources).join("\n");
    // Errors are found by their code, and plurals by their count.
    const chosen = /^error\.|\.(?:one|other)$/;
    expect(keys.filter((key) => !chosen.test(key) && !page.includes(`"${key}"`))).toEqual([]);
  });
});

describe("t", () => {
  it("fills in values and follows the language", () => {
    expect(t("status.length", { n: 1234 })).toBe("It reached the limit of 1,234 tokens.");
    i18n.use("es");
    expect(t("status.length", { n: 57 })).toBe("Llegó al límite de 57 tokens.");
    expect(document.documentElement.lang).toBe("es");
  });

  it("leaves a value that was not given visible", () => {
    expect(t("status.length")).toContain("{n}");
  });
});

describe("numbers", () => {
  it("keep three digits at most after the point", () => {
    expect([number(0.123), number(12.34), number(123.4)]).toEqual(["0.12", "12.3", "123"]);
  });

  it("say milliseconds below a second and seconds above", () => {
    expect([duration(54.6), duration(1234)]).toEqual(["55 ms", "1.23 s"]);
  });

  it("choose singular and plural", () => {
    expect([count("stats.tokens", 1), count("stats.tokens", 2)]).toEqual(["1 token", "2 tokens"]);
  });
});
