/** The server's routes, as the page uses them. */

import { readEvents } from "./sse";
import type { ChatRequest, ErrorInfo, Health, ModelEntry, StreamEvent } from "./wire";

/** A request that the server refused, or that never reached it. */
export class ApiError extends Error {
  constructor(readonly info: ErrorInfo) {
    super(info.message);
    this.name = "ApiError";
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

/** The codes below are the page's own; all others come from the server. */
const unreachable = (): ApiError =>
  new ApiError({
    message: "The server cannot be reached.",
    type: "network_error",
    code: "unreachable",
  });

const streamCut = (): ApiError =>
  new ApiError({
    message: "The connection was cut before the answer ended.",
    type: "network_error",
    code: "stream_cut",
  });

const badReply = (status: number): ApiError =>
  new ApiError({
    message: `The server sent something that the page does not understand (HTTP ${status}).`,
    type: "server_error",
    code: "bad_reply",
    status,
  });

const isAbort = (error: unknown): boolean =>
  error instanceof DOMException && error.name === "AbortError";

async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { credentials: "same-origin", cache: "no-store", ...init });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw unreachable();
  }
}

/** Reads the error of a refused request, whoever wrote its body: the server, or a proxy before it. */
async function refusal(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  if (isObject(body) && isObject(body.error) && typeof body.error.message === "string") {
    const info = body.error as unknown as ErrorInfo;
    const header = Number(response.headers.get("Retry-After") ?? Number.NaN);
    const retry = info.retry_after ?? (Number.isFinite(header) ? header : null);
    return new ApiError({ ...info, status: response.status, retry_after: retry });
  }
  return badReply(response.status);
}

/**
 * Streams an answer.
 *
 * Yields the server's events; the last is always `done`, `cancelled` or `failed`.
 *
 * @throws ApiError when the request is refused, the server is away, or the stream ends without a
 *   terminal event (`stream_cut`).
 * @throws DOMException named AbortError when `signal` fires.
 */
export async function* streamChat(
  request: ChatRequest,
  signal: AbortSignal,
): AsyncGenerator<StreamEvent> {
  const response = await send("/chats/stream", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(request),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  const type = response.headers.get("Content-Type") ?? "";
  if (!response.body || !type.startsWith("text/event-stream")) throw badReply(response.status);
  try {
    for await (const { event, data } of readEvents(response.body)) {
      const parsed = { ...JSON.parse(data), event } as StreamEvent;
      yield parsed;
      if (event === "done" || event === "cancelled" || event === "failed") return;
    }
  } catch (error) {
    if (isAbort(error)) throw error;
    if (error instanceof SyntaxError) throw badReply(response.status);
    throw streamCut();
  }
  throw streamCut();
}

/** Asks how the server and its engine are. @throws ApiError */
export async function getHealth(signal: AbortSignal): Promise<Health> {
  const response = await send("/health", { signal });
  const body: unknown = await response.json().catch(() => null);
  if (!isObject(body) || !isObject(body.engine)) throw badReply(response.status);
  return body as unknown as Health;
}

/** Lists the models and aliases. @throws ApiError */
export async function listModels(): Promise<ModelEntry[]> {
  const response = await send("/v1/models", {});
  if (!response.ok) throw await refusal(response);
  const body: unknown = await response.json().catch(() => null);
  if (!isObject(body) || !Array.isArray(body.data)) throw badReply(response.status);
  return body.data as ModelEntry[];
}
