/** Names of the reply classes, and sentences that say why a message could not be sent. */
import type { ReplyClass } from "../../api/generated";
import { ApiProblem, sentenceOf } from "../../api/problem";
import { t } from "../../i18n";

export function className(value: ReplyClass): string {
  return {
    interested: t("Interested"), question: t("Question"), later: t("Later"), not_interested: t("Not interested"),
    wrong_number: t("Wrong number"), stop: t("Stop texting"), other: t("Other"),
  }[value];
}

/** Return a sentence that says why a message could not be sent, without paths of the API. */
export function refusal(error: unknown): string {
  if (!(error instanceof ApiProblem)) return t("The service cannot be reached. Your text is kept; press Send again when you are online.");
  switch (error.code) {
    case "recipient_opted_out":
      return t("This person has opted out, so nothing was sent. If they agreed to messages again, opt them in on their page.");
    case "recipient_do_not_contact":
      return t("This number must not be contacted, so nothing was sent.");
    case "recipient_opt_out_hold":
      return t("A reply may mean stop, so nothing was sent. Read it, then choose Stop texting or another outcome, and decide on the person's page.");
    case "media_not_supported":
      return t("The provider takes text only. Remove the pictures, then send again.");
    default:
      return sentenceOf(error);
  }
}
