/** Work that follows the screen: at most once a frame, and slower when nobody looks. */

const HIDDEN_MS = 250;

/** Returns a function that asks for `work`; however often it is called, work runs once a frame. */
export function oncePerFrame(work: () => void): { request: () => void; flush: () => void } {
  let cancel: (() => void) | null = null;
  const run = (): void => {
    cancel?.();
    cancel = null;
    work();
  };
  const request = (): void => {
    if (cancel) return;
    // A hidden page gets no animation frames, and one that is being hidden may lose its frame.
    const timer = setTimeout(run, HIDDEN_MS);
    const frame = requestAnimationFrame(run);
    cancel = () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  };
  return { request, flush: run };
}
