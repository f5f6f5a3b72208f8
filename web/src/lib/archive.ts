/** The conversation and the draft, kept across reloads within a bound. */

import { Message, type SavedMessage } from "./message.svelte";
import { forget, load, save } from "./storage";

/** Characters of JSON. Browsers grant an origin about five million UTF-16 units. */
export const MAX_SAVED = 1_500_000;
const MAX_DRAFT = 200_000;

export interface Saved {
  messages: Message[];
  /** Whether older messages had to be left out. */
  partly: boolean;
}

/** Keeps the newest messages that fit. Returns false if some had to be left out. */
export function saveChat(messages: readonly Message[]): boolean {
  if (messages.length === 0) {
    forget("chat");
    return true;
  }
  const all = messages.map((message) => message.toJSON());
  for (let limit = MAX_SAVED; limit > 1000; limit /= 2) {
    const kept = newest(all, limit);
    const partly = kept.length < all.length;
    if (save("chat", { version: 1, partly, messages: kept })) return !partly;
  }
  return false;
}

function newest(messages: SavedMessage[], limit: number): SavedMessage[] {
  let size = 0;
  let first = messages.length;
  while (first > 0) {
    size += JSON.stringify(messages[first - 1]).length;
    if (size > limit) break;
    first--;
  }
  // A conversation begins with a question.
  while (first > 0 && first < messages.length && messages[first]?.role !== "user") first++;
  return messages.slice(first);
}

/** Returns what was kept, without whatever in it is damaged. */
export function loadChat(): Saved {
  const saved = load("chat") as { messages?: unknown; partly?: unknown } | null;
  const list = Array.isArray(saved?.messages) ? (saved.messages as unknown[]) : [];
  return {
    messages: list.map((entry) => Message.from(entry)).filter((message) => message !== null),
    partly: saved?.partly === true,
  };
}

export const saveDraft = (draft: string): void => {
  if (draft === "") forget("draft");
  else save("draft", draft.slice(0, MAX_DRAFT));
};

export const loadDraft = (): string => {
  const draft = load("draft");
  return typeof draft === "string" ? draft : "";
};
