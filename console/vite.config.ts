import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

// The API to develop against: a running instance, named by YUNHE_DEV_URL.
const api = process.env.YUNHE_DEV_URL ?? "http://127.0.0.1:8420";

export default defineConfig({
  plugins: [react()],
  build: { outDir: "dist", emptyOutDir: true, chunkSizeWarningLimit: 900 },
  server: { host: "127.0.0.1", proxy: { "/api": api, "/v1": api, "/gateway": api } },
});
