import { fileURLToPath } from 'node:url';

import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const fileOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const gateway = process.env.TENDRIL_GATEWAY ?? 'http://127.0.0.1:8000';

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { '@': fileOf('./src') } },
  server: {
    host: '127.0.0.1',
    proxy: {
      '/api': gateway,
      '/openapi.json': gateway,
      '/socket.io': { target: gateway, ws: true },
    },
  },
  build: {
    target: 'es2022',
    sourcemap: true,
    chunkSizeWarningLimit: 1_600,
    rolldownOptions: { input: [fileOf('./index.html'), fileOf('./docs/index.html')] },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node', css: true },
});
