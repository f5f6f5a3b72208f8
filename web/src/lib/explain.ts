/** Errors in the reader's language. */

import { en, type MessageKey } from "./i18n/en";
import type { ErrorInfo } from "./wire";

export interface Explanation {
  key: MessageKey;
  values: Record<string, number>;
  /** Whether the server's own words add something. */
  detail: boolean;
}

const isKey = (key: string): key is MessageKey => Object.hasOwn(en, key);

/** What is said for a code that has no words of its own. */
const BY_STATUS: Record<number, MessageKey> = {
  403: "error.forbidden",
  404: "error.model_not_found",
  413: "error.body_too_large",
  422: "error.invalid_request",
  429: "error.overloaded",
  503: "error.unavailable",
  504: "error.budget_exceeded",
};

/** Whether an error passes when the engine or the server is back. */
export const isAway = (error: ErrorInfo): boolean =>
  error.status === 503 || error.code === "unreachable";

/** Says what an error means to the person who reads it. */
export function explain(error: ErrorInfo): Explanation {
  const seconds = Math.ceil(error.retry_after ?? 0);
  if (error.code === "overloaded" && seconds > 0) {
    return { key: "error.overloadedIn", values: { n: seconds }, detail: false };
  }
  const exact = `error.${error.code}`;
  const key = isKey(exact) ? exact : (BY_STATUS[error.status ?? 0] ?? "error.other");
  const own = error.type === "network_error";
  return { key, values: {}, detail: !own && error.message !== "" };
}
