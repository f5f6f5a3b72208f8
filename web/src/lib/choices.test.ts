import { describe, expect, it } from "vitest";

import { choices } from "./choices";
import type { ModelEntry } from "./wire";

const entry = (id: string, model = id, kind = "chat"): ModelEntry => ({
  id,
  object: "model",
  maloca: { model, kind },
});

describe("choices", () => {
  it("offers each chat model once, the default one under its alias and first", () => {
    const listed = [
      entry("default", "small"),
      entry("embedding", "mini", "embedding"),
      entry("fast", "tiny"),
      entry("big"),
      entry("mini", "mini", "embedding"),
      entry("small"),
      entry("tiny"),
    ];
    expect(choices(listed)).toEqual([
      { id: "default", name: "small" },
      { id: "big", name: "big" },
      { id: "tiny", name: "tiny" },
    ]);
  });

  it("takes a plain OpenAI list as it is", () => {
    expect(choices([{ id: "a", object: "model" }])).toEqual([{ id: "a", name: "a" }]);
  });
});
