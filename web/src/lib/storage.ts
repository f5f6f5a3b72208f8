/** The browser's storage, which may be full, blocked, or hold what an older page left there. */

const PREFIX = "maloca.";

export const storageKey = (name: string): string => PREFIX + name;

/** Returns what was kept under `name`, or null when there is nothing that can be read. */
export function load(name: string): unknown {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** Keeps a value. Returns false when the browser did not take it. */
export function save(name: string, value: unknown): boolean {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Forgets a value. */
export function forget(name: string): void {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // What cannot be reached cannot be read either.
  }
}
