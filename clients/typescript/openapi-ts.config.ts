import { defineConfig } from "@hey-api/openapi-ts";

export default defineConfig({
  input: "../../docs/openapi.json",
  output: {
    path: "generated",
    clean: true,
    importFileExtension: ".ts",
    // The generated code does not compile with exactOptionalPropertyTypes, so its types are not
    // checked. The types of the code that uses it are checked.
    header: ({ defaultValue }) => ["// @ts-nocheck", ...defaultValue],
  },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
});
