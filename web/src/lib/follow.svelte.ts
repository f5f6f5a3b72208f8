/** Keeps the end of a growing page in view, until the reader scrolls away from it. */

const NEAR = 48;

class Follower {
  /** Whether the page moves along with the text. */
  following = $state(true);

  #lastY = 0;

  /**
   * Follows the growth of the page while there is something to follow.
   *
   * @returns How to let go.
   */
  watch(wanted: () => boolean): () => void {
    history.scrollRestoration = "manual";
    const sizes = new ResizeObserver(() => {
      if (this.following && wanted()) this.#toEnd();
    });
    sizes.observe(document.body);
    const scrolled = (): void => this.#scrolled();
    addEventListener("scroll", scrolled, { passive: true });
    return () => {
      sizes.disconnect();
      removeEventListener("scroll", scrolled);
    };
  }

  /** Goes to the end and stays there. */
  follow(): void {
    this.following = true;
    this.#toEnd();
  }

  #toEnd(): void {
    scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
  }

  #scrolled(): void {
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    if (left < NEAR) this.following = true;
    else if (scrollY < this.#lastY) this.following = false;
    this.#lastY = scrollY;
  }
}

export const follower = new Follower();
