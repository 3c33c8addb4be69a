import type { Problem as ProblemDocument } from "./generated";
import { t } from "../i18n";
import { screenName } from "./field-names";

/** An error response of the API (RFC 9457), or an error of the console in the same form. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly extras: Record<string, unknown>;
  readonly fields: Record<string, string>;

  constructor(status: number, document: Partial<ProblemDocument> & Record<string, unknown>) {
    const detail = document.code === "changed_since" ? t("Somebody else has changed this meanwhile. Load it again, then check it.") : document.detail;
    super(detail ? plainly(detail) : t("The service did not answer as expected. Try again in a moment."));
    this.status = status;
    this.code = document.code ?? "unknown";
    this.extras = document;
    this.fields = {};
    for (const one of document.errors ?? []) this.fields[one.pointer] ??= plainly(one.detail);
  }
}

/**
 * Return a text of the API for users: without backquotes, without sentences that contain an API
 * path, and with the names of fields that the screens use.
 */
export function plainly(text: string): string {
  const at = text.match(/^String should have at (most|least) (\d+) character/);
  if (at) return at[1] === "most" ? t("At most {n} characters.", { n: at[2] }) : t("At least {n} characters.", { n: at[2] });
  const place = text.match(/^line (\d+), column (\d+): (.+)$/s);
  if (place) return templateFault(Number(place[1]), place[2]!, place[3]!.replaceAll("`", ""));
  const sentences = text.replace(/ ?[^.]*\b(GET|POST|PUT|PATCH|DELETE) \/v1\/[^ ]*[^.]*\./g, "") || text;
  return sentences.replace(/`([^`]*)`/g, (_all, name: string) => (screenName(name) ? `“${screenName(name)}”` : name)).replaceAll("`", "");
}

/** Return a sentence about a fault in a message, at its line and column. */
function templateFault(line: number, column: string, found: string): string {
  const unknown = found.match(/^the variable (\S+) does not exist\.$/);
  const unexpected = found.match(/^unexpected (.+?)\.?$/);
  const fault = unknown ? t("the variable {name} does not exist.", { name: unknown[1] }) : unexpected ? t("unexpected {what}.", { what: unexpected[1] }) : found;
  const sentence = line === 1 ? t("The text has a fault at column {column}: {fault}", { column, fault }) : t("The text has a fault at line {line}, column {column}: {fault}", { line, column, fault });
  return unexpected ? `${sentence} ${t("A value is written as {example}.", { example: "{{ first_name }}" })}` : sentence;
}

const FORM_IS_WRONG = new Set(["validation_failed", "invalid_campaign", "invalid_import_option", "invalid_template"]);
/** Matches a sentence that only refers to the faults in the field `errors`. */
const REFERS_TO_FIELDS = /\berrors (lists|names|describes)\b/;

/** Return the sentence to show for any error. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof ApiProblem)) return t("The service cannot be reached. Check your connection, then try again.");
  const fields = [...new Set(Object.values(error.fields))];
  const isAboutFields = FORM_IS_WRONG.has(error.code) || REFERS_TO_FIELDS.test(error.message);
  return isAboutFields && fields.length ? fields.slice(0, 2).join(" ") : error.message;
}

/** Return the error sentence of a form field. `pointer` is its JSON pointer, such as `/name`. */
export function fieldError(error: unknown, pointer: string): string | undefined {
  return error instanceof ApiProblem ? error.fields[pointer] : undefined;
}
