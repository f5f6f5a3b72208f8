import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** Where `npm run dev` finds a running server; the built page always talks to its own origin. */
const server = process.env.MALOCA_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [svelte()],
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
