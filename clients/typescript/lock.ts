/**
 * Removes the addresses of funding pages from the lock file, so that it contains no address.
 *
 * After a change of a version, run `npm run lock`, which also runs this script.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const withoutAddresses = (key: string, value: unknown) => (key === "funding" ? undefined : value);
const lock: unknown = JSON.parse(readFileSync(file, "utf8"), withoutAddresses);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
