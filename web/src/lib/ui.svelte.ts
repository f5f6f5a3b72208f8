/** What the page shows beside the conversation. */

import type { Message } from "./message.svelte";

class Ui {
  dialog = $state<"settings" | "keys" | null>(null);
  /** The message that is being edited. */
  editing = $state.raw<Message | null>(null);
  /** What a screen reader is to say next. */
  spoken = $state("");

  #composer: HTMLTextAreaElement | null = null;

  adopt(composer: HTMLTextAreaElement): () => void {
    this.#composer = composer;
    return () => (this.#composer = null);
  }

  focusComposer(): void {
    this.#composer?.focus();
  }

  /** Says something politely. The same words twice in a row are said twice. */
  say(text: string): void {
    this.spoken = text === this.spoken ? `${text}\u00A0` : text;
  }
}

export const ui = new Ui();
