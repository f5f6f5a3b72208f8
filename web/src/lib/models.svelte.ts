/** The chat models to choose from. */

import { listModels } from "./api";
import { type Choice, choices } from "./choices";
import { settings } from "./settings.svelte";

class Models {
  /** Empty until the server has told. */
  choices = $state.raw<Choice[]>([]);

  /** Asks the server, at the start and whenever the engine is back. */
  async refresh(): Promise<void> {
    try {
      this.choices = choices(await listModels());
    } catch {
      // The page works without a choice, and the health notice already tells what is wrong.
      return;
    }
    const chosen = settings.now.model;
    // A model that is gone would fail every message; the alias goes on.
    if (this.choices.length > 0 && !this.choices.some(({ id }) => id === chosen)) {
      settings.set({ model: "default" });
    }
  }
}

export const models = new Models();
