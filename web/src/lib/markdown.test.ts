import { describe, expect, it } from "vitest";

import { type Block, MarkdownStream, plainText, renderMarkdown } from "./markdown";

const html = (source: string): string =>
  renderMarkdown(source)
    .map((block) => block.html ?? "")
    .join("");

const ANSWER = `# La maloca

Una *casa* **grande** con \`fuego\`.

Setext
------

- uno
- dos

  más de dos
  \`\`\`js
  let x = 1;
  \`\`\`
- tres

1. a
2. b

| río | largo |
|-----|------:|
| Igaraparaná | 440 |

> cita
perezosa

\`\`\`python
def f(x):
    return "<b>" # ok
\`\`\`

Un [enlace][m] y fin.

[m]: https://example.org/m
`;

describe("MarkdownStream", () => {
  it("ends with the same blocks however the answer arrives", () => {
    const whole = renderMarkdown(ANSWER);
    for (const size of [1, 2, 3, 7, 50]) {
      const stream = new MarkdownStream();
      for (let i = size; i < ANSWER.length; i += size) stream.update(ANSWER.slice(0, i), false);
      expect(stream.update(ANSWER, true)).toEqual(whole);
    }
  });

  it("never loses or repeats text on the way", () => {
    const letters = (text: string): string => text.replace(/[^\p{L}]/gu, "");
    const text = (blocks: Block[]): string =>
      blocks
        .map((b) => b.html ?? ("text" in b ? b.text : ""))
        .map((h) => new DOMParser().parseFromString(h, "text/html").body.textContent)
        .join("");
    const source = "# Uno\n\ndos tres\n\n- cuatro\n- cinco\n\nseis\n\n> siete\n\nocho";
    const stream = new MarkdownStream();
    for (let i = 1; i <= source.length; i++) {
      const part = source.slice(0, i);
      expect(letters(text(stream.update(part, false)))).toBe(letters(part));
    }
  });

  it("keeps finished blocks as they are while the last one grows", () => {
    const stream = new MarkdownStream();
    const before = stream.update("```js\nlet a;\n```\n\nText", false);
    const after = stream.update("```js\nlet a;\n```\n\nText grows", false);
    expect(after[0]).toBe(before[0]);
    expect(after[1]?.html).toContain("Text grows");
  });

  it("shows code as plain text until its fence closes", () => {
    const stream = new MarkdownStream();
    expect(stream.update("```js\nlet a", false)).toEqual([
      { kind: "code", text: "let a", language: "js", html: null },
    ]);
    const [closed] = stream.update("```js\nlet a\n```", false);
    expect(closed?.html).toContain("hljs-keyword");
  });

  it("does not turn a paragraph into a heading for the length of a dash", () => {
    const stream = new MarkdownStream();
    const blocks = stream.update("Things:\n-", false);
    expect(blocks.map((b) => b.html).join("")).not.toMatch(/<h\d/);
  });

  it("starts over when the text is another one", () => {
    const stream = new MarkdownStream();
    stream.update("one\n\ntwo\n\nthree", false);
    expect(stream.update("new", false)).toEqual([{ kind: "html", html: "<p>new</p>\n" }]);
  });

  it("shows a text that no parser can take as text", () => {
    const deep = "> ".repeat(20_000) + "end";
    const blocks = renderMarkdown(deep);
    expect(blocks.map((b) => b.html).join("")).toContain("end");
  });
});

describe("rendering", () => {
  it("puts headings below the page's own and skips no level", () => {
    const levels = [
      ...html("## a\n\n#### b\n\n### c\n\n###### d\n\n## e\n\n# f").matchAll(/<h(\d)>/g),
    ].map((m) => m[1]);
    expect(levels).toEqual(["3", "4", "4", "5", "3", "3"]);
  });

  it("keeps single line ends", () => {
    expect(html("verso uno\nverso dos")).toContain("<br>");
  });

  it("escapes code in every language and in none", () => {
    for (const language of ["", "js", "html", "klingon", "a<b"]) {
      const out = html(`\`\`\`${language}\n<img src=x onerror=alert(1)>\n\`\`\``);
      expect(out).not.toContain("<img");
      expect(out).toContain("&lt;");
    }
  });

  it("keeps how columns are aligned and where a list begins", () => {
    expect(html("|a|\n|-:|\n|1|")).toContain('<td align="right">');
    expect(html("7. siete")).toContain('<ol start="7">');
  });

  it("shows task lists without form controls", () => {
    const out = html("- [x] hecho\n- [ ] falta");
    expect(out).toContain("☑");
    expect(out).toContain("☐");
    expect(out).not.toContain("<input");
  });

  it("shows an image as a link that says where it leads", () => {
    const out = html("![un gato](https://example.org/g.png) ![](https://example.org/h.png)");
    expect(out).not.toContain("<img");
    expect(out).toContain('href="https://example.org/g.png"');
    expect(out).toContain(">un gato (https://example.org/g.png)</a>");
    expect(out).toContain(">https://example.org/h.png</a>");
    expect(html("![gato](data:image/png;base64,AAAA)")).toBe("<p>gato</p>\n");
  });

  it("obeys simple tags and shows all others", () => {
    expect(html("H<sub>2</sub>O<br>y <kbd>Esc</kbd>")).toContain(
      "H<sub>2</sub>O<br>y <kbd>Esc</kbd>",
    );
    expect(html("Usa <div class='a'> o <script>x</script>")).toContain(
      "Usa &lt;div class='a'&gt; o &lt;script&gt;x&lt;/script&gt;",
    );
    expect(html("<think>\nhm\n</think>")).toBe("<p>&lt;think&gt;<br>hm<br>&lt;/think&gt;</p>\n");
    expect(html("<b onclick=x>a</b>")).toContain("&lt;b onclick=x&gt;a");
  });

  it("opens links elsewhere, with their true address as tooltip", () => {
    expect(html("[banco](https://evil.example/x)")).toMatch(
      /<a(?=[^>]* rel="noopener noreferrer nofollow")(?=[^>]* target="_blank")(?=[^>]* title="https:\/\/evil.example\/x")/,
    );
  });

  it("lets nobody reach this server through a link", () => {
    for (const address of [
      "/admin",
      "//host/x",
      "admin",
      "?q",
      "#top",
      "ftp://h/x",
      "file:///etc",
    ]) {
      expect(html(`[x](${address})`), address).not.toContain("href");
    }
  });
});

describe("plainText", () => {
  it("reads an answer without its marks", () => {
    expect(
      plainText("# Hola\n\n**uno** [dos](https://x.example)\n\n- tres\n\n```js\nlet x\n```"),
    ).toBe("Hola\nuno dos\ntres\nlet x");
  });
});
