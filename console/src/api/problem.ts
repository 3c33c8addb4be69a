import type { Problem as ProblemDocument } from "./generated";
import { t } from "../i18n";

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
 * Return a text of the API without backquotes and without sentences that contain an API path,
 * because users do not know them.
 */
export function plainly(text: string): string {
  const at = text.match(/^String should have at (most|least) (\d+) character/);
  if (at) return at[1] === "most" ? t("At most {n} characters.", { n: at[2] }) : t("At least {n} characters.", { n: at[2] });
  return text.replace(/ ?[^.]*\b(GET|POST|PUT|PATCH|DELETE) \/v1\/[^ ]*[^.]*\./g, "").replaceAll("`", "") || text;
}

const FORM_IS_WRONG = new Set(["validation_failed", "invalid_campaign"]);

/** Return the sentence to show for any error. */
export function sentenceOf(error: unknown): string {
  if (!(error instanceof ApiProblem)) return t("The service cannot be reached. Check your connection, then try again.");
  const fields = [...new Set(Object.values(error.fields))];
  return FORM_IS_WRONG.has(error.code) && fields.length ? fields.slice(0, 2).join(" ") : error.message;
}

/** Return the error sentence of a form field. `pointer` is its JSON pointer, such as `/name`. */
export function fieldError(error: unknown, pointer: string): string | undefined {
  return error instanceof ApiProblem ? error.fields[pointer] : undefined;
}
