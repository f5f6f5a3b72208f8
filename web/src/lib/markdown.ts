/**
 * Markdown that grows while it is read.
 *
 * A streamed answer changes only at its end, so finished blocks are rendered once and kept; each
 * update lexes and renders the last block alone. When the answer is complete it is lexed once more
 * as a whole, which settles what only the end could tell (link definitions); blocks that come out
 * the same keep their DOM.
 */

import { Lexer, Marked, Parser, type Token, type Tokens } from "marked";

import { escapeHtml, highlight, languageOf } from "./highlight";
import { safeUrl, sanitise } from "./sanitise";

export type Block =
  | { kind: "html"; html: string }
  /** `html` is null while the block is being written. */
  | { kind: "code"; text: string; language: string; html: string | null };

/** An answer's headings stand below the page's own two levels and never skip one. */
const BASE_LEVEL = 2;

/** A last line that may still become something else: "-" a list, a rule or the line under a heading. */
const UNDECIDED = /^[ >]*(?:[-=*_#+`~|]+|\d{1,9}[.)]?) *$/;

type Links = Lexer["tokens"]["links"];

function code({ text, lang }: Tokens.Code): string {
  const language = languageOf(lang);
  const name = language ? ` class="language-${escapeHtml(language)}"` : "";
  return `<pre><code${name}>${highlight(text, language)}</code></pre>\n`;
}

/** Begins any tag but those that mean something in a text. They need no attributes, so they get none. */
const NOT_BARE_TAG =
  /<(?!\/?(?:abbr|b|br|code|dd|del|details|dl|dt|em|hr|i|ins|kbd|li|mark|ol|p|q|s|samp|small|strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|var) *\/?>)/gi;

/** Other markup in an answer is most likely code that lost its fence: it is shown, not obeyed. */
function html(token: Tokens.HTML | Tokens.Tag): string {
  const shown = token.text.replace(NOT_BARE_TAG, "&lt;");
  if (!token.block || shown === token.text) return shown;
  return `<p>${shown.trim().replaceAll("\n", "<br>")}</p>\n`;
}

/** Loading an image would tell a stranger that this answer is being read, so it becomes a link. */
function image({ href, text }: Tokens.Image): string {
  const url = safeUrl(href);
  const name = escapeHtml(text.trim());
  if (url === null) return name;
  const address = escapeHtml(url);
  return `<a href="${address}">${name ? `${name} (${address})` : address}</a>`;
}

function checkbox({ checked }: Tokens.Checkbox): string {
  return `<span class="task">${checked ? "☑" : "☐"}</span> `;
}

const isFence = (token: Token): token is Tokens.Code => token.type === "code";

/** A fence is open until its closing line has come; an indented block until something follows it. */
const isClosed = (token: Tokens.Code): boolean => /\n {0,3}(?:`{3,}|~{3,})\s*$/.test(token.raw);

/** Text so twisted that the parser gives up is still text. */
const asText = (text: string): Block => ({
  kind: "html",
  html: sanitise(`<p>${escapeHtml(text).replaceAll("\n", "<br>")}</p>`),
});

/** The blocks of one answer, kept up to date while its source grows. */
export class MarkdownStream {
  #source = "";
  #settled: Block[] = [];
  #offset = 0;
  /** Code blocks by their source. */
  #highlighted = new Map<string, Block>();
  /** Link definitions met so far. */
  #links: Links = {};
  /** The depths of the last heading and of those above it, as the source numbers them. */
  #outline: number[] = [];
  #settledOutline: number[] = [];
  #marked = new Marked({
    gfm: true,
    // Models write verse and addresses with single line ends, and mean them.
    breaks: true,
    renderer: {
      code,
      html,
      image,
      checkbox,
      heading: ({ tokens, depth }: Tokens.Heading): string => {
        const outer = this.#outline.filter((above) => above < depth);
        this.#outline = [...outer, depth];
        const tag = `h${Math.min(BASE_LEVEL + this.#outline.length, 6)}`;
        return `<${tag}>${this.#inline(tokens)}</${tag}>\n`;
      },
    },
  });

  /**
   * Returns the blocks of `source`.
   *
   * @param source The answer so far. Cheap when it extends the previous one.
   * @param finished Whether nothing will follow.
   */
  update(source: string, finished: boolean): Block[] {
    const text = source.replace(/\r\n?/g, "\n");
    if (finished || !text.startsWith(this.#source)) this.#reset();
    this.#source = text;
    try {
      return finished ? this.#render(this.#lex(text)) : this.#grow(text);
    } catch {
      return [asText(text)];
    }
  }

  #reset(): void {
    this.#settled = [];
    this.#offset = 0;
    this.#links = {};
    this.#outline = [];
    this.#settledOutline = [];
  }

  #grow(text: string): Block[] {
    const tail = text.slice(this.#offset);
    const tokens = this.#lex(tail);
    const last = tokens.findLastIndex((token) => token.type !== "space");
    const done = tokens.slice(0, Math.max(last, 0));
    const raw = done.map((token) => token.raw).join("");
    this.#outline = this.#settledOutline;
    // The lexer's pieces must join up to the source again, else cutting there would lose text.
    if (!tail.startsWith(raw)) return [...this.#settled, ...this.#render(tokens)];
    this.#settled.push(...this.#render(done));
    this.#settledOutline = this.#outline;
    this.#offset += raw.length;
    return [...this.#settled, ...this.#live(tail.slice(raw.length), tokens.slice(done.length))];
  }

  #live(tail: string, tokens: Token[]): Block[] {
    const token = tokens[0];
    if (token && isFence(token) && !isClosed(token)) {
      return [{ kind: "code", text: token.text, language: languageOf(token.lang), html: null }];
    }
    const lastLine = tail.lastIndexOf("\n") + 1;
    if (token?.type === "code" || !UNDECIDED.test(tail.slice(lastLine)))
      return this.#render(tokens);
    return this.#render(this.#lex(tail.slice(0, lastLine)));
  }

  #lex(source: string): Token[] {
    const lexer = new Lexer(this.#marked.defaults);
    Object.assign(lexer.tokens.links, this.#links);
    const tokens = lexer.lex(source);
    this.#links = tokens.links;
    return tokens;
  }

  #render(tokens: Token[]): Block[] {
    return tokens
      .filter((token) => token.type !== "space" && token.type !== "def")
      .map((token) => (isFence(token) ? this.#code(token) : this.#markup(token)));
  }

  /** Highlighting is what costs most, so it is done once for each block. */
  #code({ raw, text, lang }: Tokens.Code): Block {
    const known = this.#highlighted.get(raw.trimEnd());
    if (known) return known;
    const language = languageOf(lang);
    const html = sanitise(highlight(text, language));
    const block: Block = { kind: "code", text, language, html };
    this.#highlighted.set(raw.trimEnd(), block);
    return block;
  }

  #markup(token: Token): Block {
    const html = this.#marked.parser([token]);
    const wide = token.type === "table";
    return { kind: "html", html: sanitise(wide ? `<div class="scroll">${html}</div>` : html) };
  }

  #inline(tokens: Token[]): string {
    return Parser.parseInline(tokens, this.#marked.defaults);
  }
}

/** Renders a complete answer. */
export function renderMarkdown(source: string): Block[] {
  return new MarkdownStream().update(source, true);
}

const BLOCK_END = /<\/(?:p|li|h\d|tr|div|dt|dd|blockquote)>|<br>/g;

/** Returns an answer as a person would read it aloud: no marks, no addresses. */
export function plainText(source: string): string {
  return renderMarkdown(source)
    .map((block) => {
      if (block.kind === "code") return block.text;
      const markup = block.html.replace(BLOCK_END, "$&\n");
      return new DOMParser().parseFromString(markup, "text/html").body.textContent;
    })
    .join("\n")
    .replace(/\n{2,}/g, "\n")
    .trim();
}
