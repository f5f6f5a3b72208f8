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

/** The words for codes of which a family has several. */
const FAMILIES: Record<string, MessageKey> = {
  invalid_request_error: "error.invalid_request",
  permission_error: "error.forbidden",
  timeout_error: "error.budget_exceeded",
  rate_limit_error: "error.overloaded",
};

/** Says what an error means to the person who reads it. */
export function explain(error: ErrorInfo): Explanation {
  const seconds = Math.ceil(error.retry_after ?? 0);
  if (error.code === "overloaded" && seconds > 0) {
    return { key: "error.overloadedIn", values: { n: seconds }, detail: false };
  }
  const exact = `error.${error.code}`;
  const key = isKey(exact) ? exact : (FAMILIES[error.type] ?? "error.other");
  const own = error.type === "network_error";
  return { key, values: {}, detail: !own && error.message !== "" };
}
