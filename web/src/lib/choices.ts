/** What the model picker offers. */

import type { ModelEntry } from "./wire";

export interface Choice {
  /** What a request asks for: an alias, or a model's own name. */
  id: string;
  /** The model's own name. */
  name: string;
}

/**
 * Returns one choice for each model that can chat.
 *
 * A model that the alias `default` stands for is offered under that alias, so that the choice
 * follows when the owner points it at another model.
 */
export function choices(entries: ModelEntry[]): Choice[] {
  const chatting = entries
    .filter((entry) => (entry.maloca?.kind ?? "chat") === "chat")
    .map((entry) => ({ id: entry.id, name: entry.maloca?.model ?? entry.id }));
  const rank = ({ id, name }: Choice): number => (id === "default" ? 0 : id === name ? 1 : 2);
  const found = new Map<string, Choice>();
  for (const choice of chatting.sort((a, b) => rank(a) - rank(b))) {
    if (!found.has(choice.name)) found.set(choice.name, choice);
  }
  return [...found.values()];
}
