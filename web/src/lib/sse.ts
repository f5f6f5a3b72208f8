/**
 * Server-sent events from a fetch body.
 *
 * EventSource can only GET, so the page reads the stream itself. The grammar is that of the WHATWG
 * HTML standard, "Server-sent events", section 9.2.6; `id` and `retry` are ignored because a chat
 * stream is never resumed.
 */

export interface ServerSentEvent {
  event: string;
  data: string;
}

/** An incremental parser: feed it text in pieces of any size, it returns the events they complete. */
export class SseParser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #started = false;

  /** Returns the events that `chunk` completes, in order. An event cut off at the end is dropped. */
  push(chunk: string): ServerSentEvent[] {
    let text = this.#rest + chunk;
    if (!this.#started && text !== "") {
      this.#started = true;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    const events: ServerSentEvent[] = [];
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== "\n" && c !== "\r") continue;
      // A final CR may be the first half of a CRLF whose LF comes with the next chunk.
      if (c === "\r" && i === text.length - 1) break;
      const event = this.#line(text.slice(start, i));
      if (event) events.push(event);
      if (c === "\r" && text[i + 1] === "\n") i++;
      start = i + 1;
    }
    this.#rest = text.slice(start);
    return events;
  }

  #line(line: string): ServerSentEvent | null {
    if (line === "") {
      const data = this.#data.join("\n");
      const event = this.#data.length > 0 ? { event: this.#event || "message", data } : null;
      this.#event = "";
      this.#data = [];
      return event;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    return null;
  }
}

/** Yields the events of a response body; ends when the body ends. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Leaving early, by a break or an error, closes the connection and so stops the generation.
    await reader.cancel().catch(() => undefined);
  }
}
