/** Removes addresses from the lock file. Run `npm run lock` after a change of a version. */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const withoutAddresses = (key: string, value: unknown) => (key === "funding" ? undefined : value);
const lock: unknown = JSON.parse(readFileSync(file, "utf8"), withoutAddresses);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
