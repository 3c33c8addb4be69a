import { defineConfig } from "@hey-api/openapi-ts";

export default defineConfig({
  input: "../../docs/openapi.json",
  output: {
    path: "generated",
    clean: true,
    importFileExtension: ".ts",
    // Generated code does not compile with exactOptionalPropertyTypes. Code that uses it does.
    header: ({ defaultValue }) => ["// @ts-nocheck", ...defaultValue],
  },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
});
