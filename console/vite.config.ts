import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

// The output is committed, so the same source must give the same bytes on each machine.
export default defineConfig({
  plugins: [react()],
  base: "/",
  build: {
    outDir: process.env.CONSOLE_OUT ?? "../src/crm_api/console",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: "manifest.json",
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: { "/v1": "http://127.0.0.1:8000" },
  },
});
