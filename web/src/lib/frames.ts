/** Work that follows the screen: at most once a frame, and seldom enough to leave time for the rest. */

/** How long a page that gets no frames waits: one that is hidden, for example. */
const HIDDEN_MS = 250;
/** Work that is quicker than this runs on every frame. */
const QUICK_MS = 6;
/** Slow work may take one part in this many of the time. */
const SHARE = 4;

/**
 * Returns a function that asks for `work`, and one that runs it now.
 *
 * However often it is asked for, work runs once a frame at most, and less often where it is slow.
 */
export function oncePerFrame(work: () => void): { request: () => void; flush: () => void } {
  let cancel: (() => void) | null = null;
  let cost = 0;
  const run = (): void => {
    cancel?.();
    cancel = null;
    const start = performance.now();
    work();
    cost = performance.now() - start;
  };
  const request = (): void => {
    if (cancel) return;
    const pause = cost > QUICK_MS ? cost * SHARE : 0;
    let frame = 0;
    const next = (): void => {
      frame = requestAnimationFrame(run);
    };
    const pausing = pause > 0 ? setTimeout(next, pause) : undefined;
    if (pause === 0) next();
    const fallback = setTimeout(run, HIDDEN_MS + pause);
    cancel = () => {
      clearTimeout(pausing);
      clearTimeout(fallback);
      cancelAnimationFrame(frame);
    };
  };
  return { request, flush: run };
}
