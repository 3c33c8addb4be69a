/** Functions that read the people of a filter or a segment as a CSV stream, for bulk changes. */
import type { ContactSearch } from "../routes";
import { t } from "../i18n";
import { client } from "./generated/client.gen";
import { ApiProblem } from "./problem";

export type Person = { id: string; phone: string; tags: string[]; lists: string[]; flags: string[] };

export const MOST_PEOPLE = 100_000;

/** Return the query parameters of `GET /v1/contacts` for the filters in the address. */
export function filterQuery(filter: ContactSearch): Record<string, string | boolean> {
  return {
    ...(filter.q ? { q: filter.q } : {}),
    ...(filter.tag ? { tag: filter.tag } : {}),
    ...(filter.list ? { list_id: filter.list } : {}),
    ...(filter.opted_out ? { opted_out: filter.opted_out === "yes" } : {}),
    ...(filter.flag ? { flag: filter.flag } : {}),
    ...(filter.state ? { state: filter.state } : {}),
  };
}

/** Parser that splits a stream of CSV text into records. A quoted field may contain line breaks. */
export class CsvReader {
  private record: string[] = [];
  private cell = "";
  private isQuoted = false;
  private wasQuote = false;

  *read(text: string): Generator<string[]> {
    for (const sign of text) {
      if (this.isQuoted) {
        if (sign === '"') {
          this.isQuoted = false;
          this.wasQuote = true;
        } else this.cell += sign;
      } else if (sign === '"') {
        if (this.wasQuote) this.cell += '"';
        this.isQuoted = true;
        this.wasQuote = false;
      } else if (sign === ",") {
        this.record.push(this.cell);
        this.cell = "";
        this.wasQuote = false;
      } else if (sign === "\n") {
        yield [...this.record, this.cell];
        this.record = [];
        this.cell = "";
        this.wasQuote = false;
      } else if (sign !== "\r") {
        this.cell += sign;
        this.wasQuote = false;
      }
    }
  }

  *end(): Generator<string[]> {
    if (this.cell || this.record.length) yield [...this.record, this.cell];
  }
}

const names = (cell: string | undefined): string[] => (cell ? cell.split("; ").map((one) => one.replace(/^'(?=[=+\-@])/, "")) : []);

/**
 * Read all people that the filter selects.
 *
 * @throws ApiProblem if the filter selects more than `MOST_PEOPLE` people.
 */
export async function readPeople(filter: ContactSearch, onProgress: (n: number) => void, signal: AbortSignal): Promise<Person[]> {
  const answer = await client.get<{ 200: ReadableStream<Uint8Array> }, unknown, true>({
    url: filter.segment ? "/v1/segments/{segment_id}/contacts" : "/v1/contacts",
    ...(filter.segment ? { path: { segment_id: filter.segment } } : { query: filterQuery(filter) }),
    headers: { Accept: "text/csv" },
    parseAs: "stream",
    signal,
    throwOnError: true,
  });
  const reader = (answer.data as ReadableStream<Uint8Array<ArrayBuffer>>).pipeThrough(new TextDecoderStream()).getReader();
  const csv = new CsvReader();
  const found: Person[] = [];
  let at: Record<string, number> | null = null;
  const take = (record: string[]) => {
    if (!at) {
      at = Object.fromEntries(record.map((name, index) => [name, index]));
      return;
    }
    const value = (name: string) => record[at?.[name] ?? -1];
    found.push({ id: value("id") ?? "", phone: value("phone") ?? "", tags: names(value("tags")), lists: names(value("lists")), flags: names(value("flags")) });
  };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const record of csv.read(value)) take(record);
    if (found.length > MOST_PEOPLE) {
      await reader.cancel();
      throw new ApiProblem(422, { code: "too_many_people", detail: t("These are more than 100,000 people. Narrow the filter, and change them in parts.") });
    }
    onProgress(found.length);
  }
  for (const record of csv.end()) take(record);
  return found;
}
