import { describe, expect, it } from "vitest";

import { readEvents, SseParser } from "./sse";

const WIRE =
  ': hello\n\nevent: delta\ndata: {"text":"a"}\n\nevent:done\r\ndata:1\r\ndata: 2\r\n\r\n';
const EVENTS = [
  { event: "delta", data: '{"text":"a"}' },
  { event: "done", data: "1\n2" },
];

describe("SseParser", () => {
  it("reads events however the bytes are cut", () => {
    for (let size = 1; size <= WIRE.length; size++) {
      const parser = new SseParser();
      const events = [];
      for (let i = 0; i < WIRE.length; i += size)
        events.push(...parser.push(WIRE.slice(i, i + size)));
      expect(events, `pieces of ${size}`).toEqual(EVENTS);
    }
  });

  it("ignores comments, unknown fields and events without data", () => {
    const parser = new SseParser();
    expect(parser.push(": keep-alive\n\nid: 7\nretry: 5\nevent: x\n\n")).toEqual([]);
    expect(parser.push("data\n\n")).toEqual([{ event: "message", data: "" }]);
  });

  it("drops an event that was cut off", () => {
    expect(new SseParser().push("event: delta\ndata: half")).toEqual([]);
  });

  it("skips a byte order mark and keeps inner spaces", () => {
    expect(new SseParser().push("\uFEFFdata:  two spaces\n\n")).toEqual([
      { event: "message", data: " two spaces" },
    ]);
  });
});

describe("readEvents", () => {
  const body = (pieces: Uint8Array[], onCancel?: () => void): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        if (!onCancel) controller.close();
      },
      cancel() {
        onCancel?.();
      },
    });

  it("joins a character that was cut between two chunks", async () => {
    const bytes = new TextEncoder().encode("data: mañana 🔥\n\n");
    const pieces = [...bytes].map((byte) => Uint8Array.of(byte));
    const events = [];
    for await (const event of readEvents(body(pieces))) events.push(event);
    expect(events).toEqual([{ event: "message", data: "mañana 🔥" }]);
  });

  it("cancels the body when the reader leaves early", async () => {
    let cancelled = false;
    const stream = body([new TextEncoder().encode("data: 1\n\n")], () => (cancelled = true));
    for await (const event of readEvents(stream)) {
      expect(event.data).toBe("1");
      break;
    }
    expect(cancelled).toBe(true);
  });
});
