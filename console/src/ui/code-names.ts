/** Names of values of closed lists that the API returns. An unknown value is shown by its code. */
import { t } from "../i18n";
import { plain } from "./words";

type Code = string | null | undefined;

function nameIn(names: Record<string, string>, code: Code): string {
  return (code && names[code]) || plain(code);
}

export function flagName(code: Code): string {
  return nameIn({
    opted_out: t("Opted out"), opt_out_hold: t("Opt-out hold"), do_not_contact: t("Do not contact"), office_number: t("Office number"),
    recently_texted: t("Recently texted"), invalid_number: t("Invalid number"), blocked_sender: t("Blocked sender"),
  }, code);
}

/** Return the name of a consent decision. */
export function consentName(code: Code): string {
  return nameIn({ opt_out: t("Opt-out"), opt_in: t("Opt-in"), hold: t("Hold"), release: t("End of the hold") }, code);
}

/** Return the name of where a consent decision came from. */
export function consentSource(code: Code): string {
  return nameIn({
    message: t("Message"), api: t("Console or another system"), import: t("An import"), provider: t("Provider"), user: t("User"),
    web_form: t("Web form"), paper: t("Paper"), phone_call: t("Phone call"), in_person: t("In person"),
  }, code);
}

/** Return the name of what caused a message. */
export function originName(code: Code): string {
  return nameIn({
    campaign: t("Campaign"), manual: t("By hand"), test: t("Test"), confirmation: t("Confirmation"), help: t("Help"),
    away: t("Away reply"), provider: t("Provider"), reminder: t("Reminder"),
  }, code);
}

/** Return the name of the status of a call. The statuses are words of the provider. */
export function callStatus(code: Code): string {
  const missed = t("Not answered");
  return nameIn({
    completed: t("Answered"), answered: t("Answered"), "no-answer": missed, missed, unanswered: missed, abandoned: missed, ringing: t("Ringing"), "in-progress": t("In progress"),
  }, code);
}

export function lineType(code: Code): string {
  return nameIn({ mobile: t("Mobile"), landline: t("Landline"), voip: t("Internet phone"), toll_free: t("Toll free"), premium: t("Premium rate"), unknown: t("Unknown type") }, code);
}

/** Return the name of the status of a quote or of an invoice. */
export function billStatus(code: Code): string {
  return nameIn({
    draft: t("Draft"), sent: t("Sent"), approved: t("Approved"), declined: t("Declined"), open: t("Unpaid"), paid: t("Paid"), void: t("Void"),
  }, code);
}

export function reminderStatus(code: Code): string {
  return nameIn({ waiting: t("Waiting"), queued: t("Sent"), skipped: t("Skipped") }, code);
}

/** Return the name of what the opt-out reader found in a reply, in lower case. */
export function readingKind(code: Code): string {
  return nameIn({ opt_out: t("an opt-out"), opt_in: t("an opt-in"), help: t("a request for help"), doubtful: t("doubtful"), none: t("no decision") }, code);
}

export function readingDecider(code: Code): string {
  return nameIn({ courtesy: t("a courtesy"), reaction: t("a reaction"), keyword: t("a keyword"), model: t("the model") }, code);
}

/** Return the name of why two contacts may be the same person. */
export function mergeReason(code: Code): string {
  return nameIn({ same_email: t("Same e-mail"), similar_address: t("Similar address"), close_number: t("Close number") }, code);
}

export function disabledReason(code: Code): string {
  return nameIn({ requested: t("Disabled by a user"), failing: t("Deliveries failed"), gone: t("The address is gone") }, code);
}

/** Return what an import does with a contact. */
export function importOutcome(code: Code): string {
  return nameIn({ created: t("Is added"), updated: t("Is changed") }, code);
}

export function confidenceName(code: Code): string {
  return nameIn({ high: t("High"), medium: t("Medium"), low: t("Low") }, code);
}

/** Return the name of a count of the undo of an import. */
export function undoCount(code: Code): string {
  return nameIn({
    removed: t("Removed"), restored: t("Restored"), memberships_removed: t("Removed from the list"), left_edited: t("Kept, because edited"), left_in_use: t("Kept, because in use"),
  }, code);
}

/** Return the name of a field that a column of an imported file can have. */
export function importField(code: Code): string {
  const phone = code?.match(/^phone_(\d)$/);
  if (phone) return t("Phone {n}", { n: phone[1] });
  return nameIn({
    phone: t("Phone"), name: t("Name"), first_name: t("First name"), last_name: t("Last name"), email: t("E-mail"), company: t("Company"),
    address: t("Address"), street: t("Street"), city: t("City"), state: t("State"), postal_code: t("ZIP code"), country: t("Country"),
    timezone: t("Time zone"), tags: t("Tags"), opted_out: t("Opted out"), do_not_contact: t("Do not contact"),
    kind: t("Kind"), status: t("Status"), amount: t("Amount"), amount_cents: t("Amount in cents"), currency: t("Currency"), date: t("Date"), external_id: t("Id in the other system"),
  }, code);
}

/** Return what a simulated person does with a message. */
export function actName(code: Code): string {
  return nameIn({ deliver: t("Delivered"), fail: t("Failed"), undeliver: t("Undelivered"), reply: t("Reply"), call: t("Call") }, code);
}
