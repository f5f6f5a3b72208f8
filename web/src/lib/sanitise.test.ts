import { describe, expect, it } from "vitest";

import { safeUrl, sanitise } from "./sanitise";

describe("sanitise", () => {
  it("lets text markup pass", () => {
    const html =
      '<h3>a</h3><p>b <strong>c</strong></p><pre><code class="language-c++">d</code></pre>';
    expect(sanitise(html)).toBe(html);
  });

  it("takes out what runs, loads or submits", () => {
    const hostile =
      "<script>x</script><style>x</style><iframe src=x></iframe><form><input></form>" +
      '<img src=x onerror=y><svg onload=y></svg><p onclick=y style="x" id=a name=b>ok</p>';
    expect(sanitise(hostile)).toBe("<p>ok</p>");
  });

  it("allows only the classes that highlighting needs", () => {
    expect(sanitise('<span class="toast hljs-keyword primary">x</span>')).toBe(
      '<span class="hljs-keyword">x</span>',
    );
    expect(sanitise('<div class="overlay">x</div>')).toBe("<div>x</div>");
  });
});

describe("safeUrl", () => {
  it("knows where a person may go", () => {
    expect(safeUrl("https://example.org/ñ")).toBe("https://example.org/%C3%B1");
    expect(safeUrl("mailto:a@example.org")).toBe("mailto:a@example.org");
    for (const address of ["javascript:x", "data:text/html,x", "/admin", "//h", "file:///x", ""]) {
      expect(safeUrl(address), address).toBeNull();
    }
  });
});
