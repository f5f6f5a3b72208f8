/** The page's two voices. Components call `t`, and follow when the language changes. */

import { en, type Dictionary, type MessageKey } from "./en";
import { es } from "./es";

export type Locale = "es" | "en";

const DICTIONARIES: Record<Locale, Dictionary> = { es, en };

export const LOCALES: { id: Locale; name: string }[] = [
  { id: "es", name: "Español" },
  { id: "en", name: "English" },
];

class I18n {
  locale = $state<Locale>("en");

  /** Speaks `locale` from now on, and tells assistive technology so. */
  use(locale: Locale): void {
    this.locale = locale;
    document.documentElement.lang = locale;
  }
}

export const i18n = new I18n();

export const isLocale = (value: unknown): value is Locale => value === "es" || value === "en";

/** Returns the message in the current language, its `{names}` filled in. */
export function t(key: MessageKey, values: Record<string, string | number> = {}): string {
  return DICTIONARIES[i18n.locale][key].replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? number(value) : value;
  });
}

/** Like `t`, for the message that fits the count `n`. */
export function count(key: "stats.tokens", n: number): string {
  const one = new Intl.PluralRules(i18n.locale).select(n) === "one";
  return t(`${key}.${one ? "one" : "other"}`, { n });
}

/** Three significant digits are what a person can use. */
export function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return new Intl.NumberFormat(i18n.locale, { maximumFractionDigits: digits }).format(value);
}

/** A span of time, given in milliseconds. */
export function duration(ms: number): string {
  return ms < 1000 ? `${number(Math.round(ms))} ms` : `${number(ms / 1000)} s`;
}

/** Splits a message around one of its `{names}`, so that markup can stand there. */
export function around(key: MessageKey, name: string): [string, string] {
  const [before = "", after = ""] = DICTIONARIES[i18n.locale][key].split(`{${name}}`);
  return [before, after];
}
