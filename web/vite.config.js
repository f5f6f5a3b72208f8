import { copyFileSync, mkdirSync } from "node:fs";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** Where `npm run dev` finds a running server; the built page always talks to its own origin. */
const server = process.env.MALOCA_URL ?? "http://127.0.0.1:8000";

/** Both services show their API with Swagger UI at /docs, offline: its files go into the package. */
const apiDocs = {
  name: "maloca-api-docs",
  closeBundle() {
    const folder = new URL("../src/maloca/asgi/swagger/", import.meta.url);
    mkdirSync(folder, { recursive: true });
    for (const name of ["swagger-ui.css", "swagger-ui-bundle.js"]) {
      copyFileSync(
        new URL(`node_modules/swagger-ui-dist/${name}`, import.meta.url),
        new URL(name, folder),
      );
    }
  },
};

export default defineConfig({
  plugins: [svelte(), apiDocs],
  build: {
    outDir: "../src/maloca/server/page",
    emptyOutDir: true,
    // A data: URL would need a wider Content-Security-Policy, so every asset stays a file.
    assetsInlineLimit: 0,
    // The page is one chunk; the polyfill would only add a script.
    modulePreload: false,
  },
  server: { proxy: { "/chats": server, "/v1": server, "/health": server } },
  test: { environment: "jsdom", include: ["src/**/*.test.ts"] },
});
