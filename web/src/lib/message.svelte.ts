/** One turn of the conversation. */

import type { ErrorInfo, FinishReason, Role, Timings, WireMessage } from "./wire";

/**
 * waiting: sent, no text yet · writing: text arrives · then one of done, stopped (by the reader), cancelled (by the server), interrupted (the page was
 * closed), failed.
 */
export type Status =
  "waiting" | "writing" | "done" | "stopped" | "cancelled" | "interrupted" | "failed";

const LIVE = new Set<Status>(["waiting", "writing"]);
const ENDED = new Set<Status>(["done", "stopped", "cancelled", "interrupted", "failed"]);

/** What is kept of a turn between visits. */
export interface SavedMessage {
  role: "user" | "assistant";
  text: string;
  status: Status;
  model?: string;
  answeredBy?: string;
  completionTokens?: number;
  limit?: number | null;
  finishReason?: FinishReason;
  timings?: Timings;
  error?: ErrorInfo;
}

let lastId = 0;

export class Message {
  readonly id = ++lastId;
  readonly role: "user" | "assistant";
  text = $state("");
  status = $state<Status>("done");
  model = $state<string>();
  answeredBy = $state<string>();
  completionTokens = $state<number>();
  /** The most tokens that were asked for; null if only the context bounds them. */
  limit = $state<number | null>(null);
  finishReason = $state<FinishReason>();
  timings = $state.raw<Timings>();
  /** Why this answer failed, or why the attempt to replace it did. */
  error = $state.raw<ErrorInfo>();
  live = $derived(LIVE.has(this.status));

  constructor(role: "user" | "assistant", text: string, status: Status = "done") {
    this.role = role;
    this.text = text;
    this.status = status;
  }

  toJSON(): SavedMessage {
    const { role, text, status, model, answeredBy, completionTokens, finishReason } = this;
    const { timings, error, limit } = this;
    // JSON drops what is undefined.
    return {
      ...{
        role,
        text,
        status,
        model,
        answeredBy,
        completionTokens,
        finishReason,
        timings,
        error,
        limit,
      },
    } as SavedMessage;
  }

  /** Returns the turn that was kept, or null if it is none. An answer that was still growing is interrupted. */
  static from(saved: unknown): Message | null {
    if (typeof saved !== "object" || saved === null) return null;
    const s = saved as Partial<SavedMessage>;
    if ((s.role !== "user" && s.role !== "assistant") || typeof s.text !== "string") return null;
    const ended = s.status !== undefined && ENDED.has(s.status);
    const message = new Message(s.role, s.text, ended ? s.status : "interrupted");
    message.model = text(s.model);
    message.answeredBy = text(s.answeredBy);
    message.completionTokens = amount(s.completionTokens);
    message.limit = amount(s.limit) ?? null;
    if (s.finishReason === "stop" || s.finishReason === "length") {
      message.finishReason = s.finishReason;
    }
    if (
      amount(s.timings?.ttft_ms) !== undefined &&
      amount(s.timings?.tokens_per_second) !== undefined
    ) {
      message.timings = s.timings;
    }
    if (text(s.error?.message) !== undefined && text(s.error?.code) !== undefined) {
      message.error = s.error;
    }
    return message;
  }
}

const text = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;
const amount = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;

/**
 * Returns a conversation as the model is to read it.
 *
 * Answers that never began are left out. Turns of the same side that then stand together become
 * one, because many chat templates insist on strict alternation.
 */
export function toWire(messages: readonly Message[], systemPrompt: string): WireMessage[] {
  const wire: WireMessage[] = [];
  const add = (role: Role, content: string): void => {
    const last = wire.at(-1);
    if (last?.role === role) last.content += `\n\n${content}`;
    else wire.push({ role, content });
  };
  if (systemPrompt.trim() !== "") add("system", systemPrompt);
  for (const { role, text: content } of messages) if (content !== "") add(role, content);
  return wire;
}
