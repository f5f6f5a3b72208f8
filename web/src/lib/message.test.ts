import { describe, expect, it } from "vitest";

import { Message, toWire } from "./message.svelte";

describe("toWire", () => {
  it("puts the instructions first and leaves out answers that never began", () => {
    const turns = [
      new Message("user", "uno"),
      new Message("assistant", "", "failed"),
      new Message("user", "dos"),
      new Message("assistant", "hasta aquí", "stopped"),
      new Message("user", "tres"),
    ];
    expect(toWire(turns, "Sé breve.")).toEqual([
      { role: "system", content: "Sé breve." },
      { role: "user", content: "uno\n\ndos" },
      { role: "assistant", content: "hasta aquí" },
      { role: "user", content: "tres" },
    ]);
  });

  it("sends no empty instructions", () => {
    expect(toWire([new Message("user", "uno")], " \n")).toEqual([{ role: "user", content: "uno" }]);
  });
});

describe("Message.from", () => {
  it("brings back what toJSON kept", () => {
    const message = new Message("assistant", "hola", "done");
    message.model = "m";
    message.completionTokens = 3;
    message.limit = 64;
    message.finishReason = "length";
    message.timings = { queue_ms: 1, ttft_ms: 2, total_ms: 3, tokens_per_second: 4 };
    const kept: unknown = JSON.parse(JSON.stringify(message));
    expect(JSON.parse(JSON.stringify(Message.from(kept)))).toEqual(kept);
  });

  it("takes an answer that was still growing for interrupted", () => {
    expect(Message.from({ role: "assistant", text: "a", status: "writing" })?.status).toBe(
      "interrupted",
    );
  });

  it("refuses what is no message and drops damaged details", () => {
    for (const bad of [null, 1, {}, { role: "root", text: "x" }, { role: "user", text: 1 }]) {
      expect(Message.from(bad)).toBeNull();
    }
    const odd = {
      role: "assistant",
      text: "a",
      status: "done",
      timings: { ttft_ms: "x" },
      error: 1,
    };
    const message = Message.from({ ...odd, model: {}, completionTokens: null, finishReason: "?" });
    expect(message).toMatchObject({ text: "a", status: "done" });
    expect(message?.timings).toBeUndefined();
    expect(message?.error).toBeUndefined();
    expect(message?.model).toBeUndefined();
  });
});
