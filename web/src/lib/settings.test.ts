import { describe, expect, it } from "vitest";

import { DEFAULTS, MAX_SYSTEM_PROMPT, readChoices } from "./settings.svelte";

describe("readChoices", () => {
  it("keeps what is acceptable", () => {
    const chosen = {
      theme: "dark",
      locale: "es",
      model: "m",
      temperature: 0,
      maxNewTokens: 8192,
      systemPrompt: "Sé breve.",
      shortcuts: false,
    };
    expect(readChoices(chosen)).toEqual(chosen);
  });

  it.each([null, 7, "x", []])("falls back to the defaults for %j", (saved) => {
    expect(readChoices(saved)).toEqual(DEFAULTS);
  });

  it("replaces each bad value by its default and shortens what is too long", () => {
    const bad = {
      theme: "pink",
      locale: "xx",
      model: "",
      temperature: 2.1,
      maxNewTokens: 1.5,
      shortcuts: "yes",
      systemPrompt: "x".repeat(MAX_SYSTEM_PROMPT + 1),
    };
    const { systemPrompt, ...rest } = readChoices(bad);
    expect(systemPrompt).toHaveLength(MAX_SYSTEM_PROMPT);
    expect({ ...rest, systemPrompt: "" }).toEqual(DEFAULTS);
  });
});
