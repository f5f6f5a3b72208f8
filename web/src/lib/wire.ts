/** What travels between the page and the server. */

export type Role = "system" | "user" | "assistant";

export interface WireMessage {
  role: Role;
  content: string;
}

export interface ChatRequest {
  messages: WireMessage[];
  model: string;
  /** 0 (always the likeliest token) to 2. */
  temperature?: number;
  /** In (0, 1]. */
  top_p?: number;
  /** Null allows as many as the context has room for. */
  max_new_tokens?: number | null;
  seed?: number;
}

export interface ErrorInfo {
  message: string;
  type: string;
  code: string;
  status?: number;
  param?: string | null;
  hint?: string | null;
  /** Seconds. */
  retry_after?: number | null;
}

export type FinishReason = "stop" | "length";

export interface Timings {
  queue_ms: number;
  ttft_ms: number;
  total_ms: number;
  tokens_per_second: number;
}

export type StreamEvent =
  | {
      event: "started";
      id: string;
      model: string;
      created: number;
      prompt_tokens: number;
      answered_by: string;
    }
  | { event: "delta"; text: string }
  | { event: "usage"; prompt_tokens: number; completion_tokens: number }
  | { event: "done"; finish_reason: FinishReason; timings: Timings }
  | { event: "cancelled"; reason: string }
  | { event: "failed"; error: ErrorInfo };

export interface Health {
  status: "ok" | "degraded";
  version: string;
  engine: {
    status: "ready" | "loading" | "down";
    model: string | null;
    message: string | null;
  };
}

export interface ModelEntry {
  id: string;
  object: "model";
  /** What this server adds to OpenAI's fields. */
  maloca?: { model: string; kind: string };
}
