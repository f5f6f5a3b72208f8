/** The conversation: what was said, what is being said, and what can be done with it. */

import { flushSync } from "svelte";

import { ApiError, streamChat } from "./api";
import { loadChat, loadDraft, saveChat, saveDraft } from "./archive";
import { oncePerFrame } from "./frames";
import { health } from "./health.svelte";
import { Message, toWire } from "./message.svelte";
import { settings } from "./settings.svelte";
import { storageKey } from "./storage";
import type { ErrorInfo, StreamEvent, WireMessage } from "./wire";

/** While an answer grows it is kept this often. */
const SAVE_MS = 1000;
const DRAFT_MS = 250;
/** How long a page that begins to close may take; after that it has stayed. */
const LEAVING_MS = 2000;

export interface Undo {
  kind: "cleared" | "edited";
  messages: Message[];
}

class Chat {
  messages = $state.raw<Message[]>([]);
  draft = $state("");
  /** What "Undo" would bring back. */
  undo = $state.raw<Undo | null>(null);
  /** Whether the browser could not keep the whole conversation. */
  partly = $state(false);
  /** The answer that has just ended, for the live region. */
  ended = $state.raw<Message | null>(null);
  busy = $derived(this.messages.at(-1)?.live ?? false);

  #abort: AbortController | null = null;
  #draftTimer: ReturnType<typeof setTimeout> | undefined;
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  #leaving = false;

  /** Brings back what was kept. Call once. */
  start(): void {
    this.#load();
    this.draft = loadDraft();
    addEventListener("beforeunload", () => {
      // The browser is about to cut the connection, and that is nobody's fault.
      this.#leaving = true;
      setTimeout(() => (this.#leaving = false), LEAVING_MS);
    });
    addEventListener("pagehide", () => this.#save());
    addEventListener("storage", ({ key }) => {
      // Another tab went on with the conversation: follow it, unless this one is speaking.
      if (key === storageKey("chat") && !this.busy) this.#load();
    });
  }

  /** Sends a message and streams its answer. */
  send(text: string): void {
    if (this.busy || text.trim() === "") return;
    this.undo = null;
    this.messages = [...this.messages, new Message("user", text)];
    void this.#answer(this.messages, null);
  }

  /** Sends the draft. */
  sendDraft(): void {
    if (this.busy || this.draft.trim() === "") return;
    const text = this.draft;
    this.write("");
    this.send(text);
  }

  /** Changes the draft and keeps it. */
  write(draft: string): void {
    this.draft = draft;
    clearTimeout(this.#draftTimer);
    if (draft === "") saveDraft("");
    else this.#draftTimer = setTimeout(() => saveDraft(this.draft), DRAFT_MS);
  }

  /** Stops the answer; what has arrived stays. */
  stop(): void {
    this.#abort?.abort();
  }

  /** Answers the last message again; the present answer stays until the new one begins. */
  regenerate(): void {
    const last = this.messages.at(-1);
    if (this.busy || !last) return;
    this.undo = null;
    if (last.role === "user") void this.#answer(this.messages, null);
    else void this.#answer(this.messages.slice(0, -1), last);
  }

  /** Replaces a message of the reader's and everything after it. */
  edit(message: Message, text: string): void {
    const index = this.messages.indexOf(message);
    if (index < 0 || text.trim() === "") return;
    this.stop();
    const before = this.messages;
    this.messages = [...before.slice(0, index), new Message("user", text)];
    this.undo = index < before.length - 1 ? { kind: "edited", messages: before } : null;
    void this.#answer(this.messages, null);
  }

  /** Starts a new conversation; the old one can be had back. */
  clear(): void {
    if (this.messages.length === 0) return;
    this.stop();
    this.undo = { kind: "cleared", messages: this.messages };
    this.messages = [];
    this.partly = false;
    this.#save();
  }

  /** Takes back the last `clear` or `edit`. */
  restore(): void {
    if (!this.undo) return;
    this.stop();
    this.messages = this.undo.messages;
    this.undo = null;
    this.#save();
  }

  /**
   * Streams the answer to `turns` as a new last message.
   *
   * @param replaced The answer whose place it takes. It comes back if the new one never begins.
   */
  async #answer(turns: Message[], replaced: Message | null): Promise<void> {
    const answer = new Message("assistant", "", "waiting");
    const abort = new AbortController();
    this.#abort = abort;
    this.messages = [...turns, answer];
    this.#save();
    let arrived = "";
    const show = oncePerFrame(() => flushSync(() => (answer.text = arrived)));
    try {
      const messages = toWire(turns, settings.now.systemPrompt);
      for await (const event of stream(messages, answer, abort.signal)) {
        if (event.event === "delta") {
          arrived += event.text;
          show.request();
          if (answer.status !== "writing") answer.status = "writing";
          this.#saveSoon();
        } else {
          show.flush();
          apply(answer, event);
        }
      }
    } catch (error) {
      show.flush();
      if (abort.signal.aborted) answer.status = "stopped";
      else if (this.#leaving) answer.status = "interrupted";
      else fail(answer, error);
    }
    if (answer.error) health.check();
    this.#finish(answer, replaced);
  }

  #finish(answer: Message, replaced: Message | null): void {
    const index = this.messages.indexOf(answer);
    if (index < 0) return;
    if (replaced && answer.text === "" && answer.status !== "done") {
      replaced.error = answer.error;
      this.messages = this.messages.with(index, replaced);
    } else if (answer.text === "" && answer.status === "stopped") {
      this.#giveBack(index);
    }
    this.ended = answer;
    this.#save();
  }

  /** A question that was stopped before anything was answered goes back to the message box. */
  #giveBack(index: number): void {
    const question = this.messages[index - 1];
    if (this.undo || this.draft !== "" || !question) return;
    this.messages = this.messages.slice(0, index - 1);
    this.write(question.text);
  }

  #load(): void {
    const { messages, partly } = loadChat();
    this.messages = messages;
    this.partly = partly;
  }

  #save(): void {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    clearTimeout(this.#draftTimer);
    saveDraft(this.draft);
    this.partly = !saveChat(this.messages);
  }

  #saveSoon(): void {
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_MS);
  }
}

/**
 * Streams an answer as the reader's settings want it.
 *
 * The longest answer is a ceiling: where the context has less room left, what there is will do.
 */
async function* stream(
  messages: WireMessage[],
  answer: Message,
  signal: AbortSignal,
): AsyncGenerator<StreamEvent> {
  const { temperature, maxNewTokens, model } = settings.now;
  const request = { messages, model, temperature };
  try {
    answer.limit = maxNewTokens;
    yield* streamChat({ ...request, max_new_tokens: maxNewTokens }, signal);
  } catch (error) {
    const tight = error instanceof ApiError && error.info.code === "context_length_exceeded";
    if (!tight || error.info.param !== "max_new_tokens") throw error;
    answer.limit = null;
    yield* streamChat({ ...request, max_new_tokens: null }, signal);
  }
}

function apply(answer: Message, event: Exclude<StreamEvent, { event: "delta" }>): void {
  switch (event.event) {
    case "started":
      answer.model = event.model;
      answer.answeredBy = event.answered_by;
      break;
    case "usage":
      answer.completionTokens = event.completion_tokens;
      break;
    case "done":
      answer.finishReason = event.finish_reason;
      answer.timings = event.timings;
      answer.status = "done";
      break;
    case "cancelled":
      answer.status = "cancelled";
      break;
    case "failed":
      fail(answer, new ApiError(event.error));
      break;
  }
}

function fail(answer: Message, error: unknown): void {
  const info: ErrorInfo =
    error instanceof ApiError
      ? error.info
      : { message: String(error), type: "page_error", code: "page_error" };
  answer.error = info;
  answer.status = "failed";
}

export const chat = new Chat();
