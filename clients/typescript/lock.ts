/** Leaves addresses out of the lock file: `npm run lock`, after a version was changed. */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const withoutAddresses = (key: string, value: unknown) => (key === "funding" ? undefined : value);
const lock: unknown = JSON.parse(readFileSync(file, "utf8"), withoutAddresses);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
