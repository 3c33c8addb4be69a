import type { Problem as ProblemDocument } from "./generated";
import { t } from "../i18n";

/** An answer of the API that is an error (RFC 9457), or a network that did not answer. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly extras: Record<string, unknown>;
  readonly fields: Record<string, string>;

  constructor(status: number, document: Partial<ProblemDocument> & Record<string, unknown>) {
    super(document.detail ?? t("The service did not answer as expected. Try again in a moment."));
    this.status = status;
    this.code = document.code ?? "unknown";
    this.extras = document;
    this.fields = {};
    for (const one of document.errors ?? []) this.fields[one.pointer] ??= one.detail;
  }
}

/** The sentence to show for any error. */
export function sentenceOf(error: unknown): string {
  if (error instanceof ApiProblem) return error.message;
  return t("The service cannot be reached. Check your connection, then try again.");
}

/** The sentence for one field, by its JSON pointer such as `/name`. */
export function fieldError(error: unknown, pointer: string): string | undefined {
  return error instanceof ApiProblem ? error.fields[pointer] : undefined;
}
