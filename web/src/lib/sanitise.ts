/**
 * The one gate through which markup made from a model's text reaches the page.
 *
 * It runs after Markdown was rendered, because rendering can make HTML out of harmless-looking
 * text. Nothing that the page could load, submit or run gets through: an answer can be read and
 * its links can be followed, and that is all.
 */

import DOMPurify from "dompurify";

const TAGS = [
  ...["a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt"],
  ...["em", "h3", "h4", "h5", "h6", "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q"],
  ...["s", "samp", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td"],
  ...["tfoot", "th", "thead", "tr", "u", "ul", "var"],
];
const PLAIN = ["align", "start", "lang", "dir", "open"];
const ATTRIBUTES = ["href", "title", "class", ...PLAIN];
const CLASSES =
  /^(?:hljs|hljs-[\w-]+|language-[\w#+.-]+|function_|class_|inherited__|scroll|task)$/;
const SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** Returns the address in full if a person may follow it, else null. Relative ones lead nowhere. */
export function safeUrl(address: string): string | null {
  try {
    const url = new URL(address);
    return SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function makeOutbound(link: Element): void {
  const url = safeUrl(link.getAttribute("href") ?? "");
  if (url === null) {
    link.removeAttribute("href");
    return;
  }
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer nofollow");
  // The text of a link may lie about where it leads; its tooltip does not.
  link.setAttribute("title", url);
}

const purify = DOMPurify();
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") makeOutbound(node);
  const names = node.getAttribute("class");
  if (names === null) return;
  const known = names.split(/\s+/).filter((name) => CLASSES.test(name));
  if (known.length > 0) node.setAttribute("class", known.join(" "));
  else node.removeAttribute("class");
});

/** Returns the part of `html` that can do no harm. */
export function sanitise(html: string): string {
  return purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    // DOMPurify holds every other value against the schemes below, as if it could be an address.
    ADD_URI_SAFE_ATTR: PLAIN,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  });
}
