/** Names of measures, breakdowns, stages and kinds of Insight, and formats of its figures. */
import type {
  AttributionModel, CostKind, FigureRead, FunnelStage, InsightDimension, InsightRecordKind, InsightUnit, OutcomeKind, OutcomeSource, TouchClass,
} from "../../api/generated";
import { count, dollars, rate } from "../../format";
import { language, t } from "../../i18n";
import { plain } from "../../ui/words";

/** Return the groups of the list of measures, in their order. */
export const measureGroups = (): [string, string[]][] => [
  [t("Messages"), ["messages", "delivered_rate", "failure_rate"]],
  [t("People"), ["reply_rate", "interested_rate", "opt_out_rate", "replies", "time_to_reply", "time_to_answer"]],
  [t("Results"), ["appointments", "quotes", "jobs"]],
  [t("Money"), ["revenue", "revenue_attributed", "revenue_unattributed", "cost", "return", "cost_per_reply", "cost_per_appointment", "cost_per_job"]],
];

export function measureName(name: string): string {
  const known: Record<string, string> = {
    messages: t("Messages"), delivered_rate: t("Delivered messages, rate"), failure_rate: t("Failed messages, rate"),
    reply_rate: t("Reply rate"), interested_rate: t("Rate of interest"), opt_out_rate: t("Opt-out rate"), replies: t("People who replied"),
    time_to_reply: t("Time to a reply"), time_to_answer: t("Time to our answer"),
    appointments: t("Appointments"), quotes: t("Quotes"), jobs: t("Jobs"),
    revenue: t("Revenue"), revenue_attributed: t("Revenue from messages"), revenue_unattributed: t("Revenue from elsewhere"),
    cost: t("Cost"), return: t("Return"), cost_per_reply: t("Cost per reply"),
    cost_per_appointment: t("Cost per appointment"), cost_per_job: t("Cost per job"),
  };
  return known[name] ?? plain(name);
}

/** Return the API sentences that have a Spanish translation. Others are shown in English. */
export const definitions = (): string[] => [
  t("Messages of campaigns that the provider accepted, follow-ups included."),
  t("Delivered messages, as a share of all campaign messages that were sent or failed."),
  t("Failed messages, as a share of all campaign messages that were sent or failed."),
  t("People who replied to a campaign within 72 hours of a message (opt-outs included), as a share of the people who got its first message. By step, as a share of the people who got the message of that step."),
  t("People who replied to a campaign with interest, as a share of the people who got its first message. A rule or a user decides whether a reply shows interest."),
  t("People who opted out by a reply to a campaign, as a share of the people who got its first message."),
  t("People who replied to a campaign, opt-outs included."),
  t("The median time from a message to the person's first reply. Only people who replied to a campaign count."),
  t("The median time from a person's first unanswered message to the answer of a user."),
  t("Appointments that were booked. Reversed outcomes do not count. By campaign, variant, step, list or line, an outcome counts for each message to which it is credited, by the credited share."),
  t("Quotes that were sent. Reversed outcomes do not count. By campaign, variant, step, list or line, an outcome counts for each message to which it is credited, by the credited share."),
  t("Jobs that were done. Reversed outcomes do not count. By campaign, variant, step, list or line, an outcome counts for each message to which it is credited, by the credited share."),
  t("The money of paid invoices. Reversed outcomes do not count. By campaign, variant, step, list or line, the row without a key is the money that is credited to no message."),
  t("The part of the money of paid invoices that the attribution rules credit to messages."),
  t("The part of the money of paid invoices that the attribution rules credit to no message."),
  t("The costs of messages and all costs that were entered. An accepted message costs one cent for each of its segments."),
  t("The cost, divided by the people who replied."),
  t("The cost, divided by the appointments that were booked."),
  t("The cost, divided by the jobs that were done."),
  t("The money that the attribution rules credit to messages, divided by the cost."),
];

export function dimensionName(name: InsightDimension): string {
  return {
    campaign: t("Campaign"), variant: t("Variant"), step: t("Step"), list: t("List"), line: t("Line"), zip: t("ZIP"), city: t("City"),
    year_built_band: t("Year built"), value_band: t("Value of the property"), owner_occupied: t("Owner lives there"),
    hour: t("Hour of the day"), weekday: t("Day of the week"), hour_of_week: t("Hour of the week"),
    reply_class: t("Class of the reply"), source: t("Source"),
  }[name];
}

export const periodName = (name: string): string =>
  ({
    "7d": t("last {n} days", { n: 7 }), "30d": t("last {n} days", { n: 30 }), "90d": t("last {n} days", { n: 90 }), "365d": t("last {n} days", { n: 365 }),
    month: t("this month"), "last-month": t("the month before"), all: t("all time"), custom: t("from … to …"),
  })[name] ?? name;

export const bucketName = (name: string): string => ({ day: t("each day"), week: t("each week"), month: t("each month") })[name] ?? name;

/** Return the name of a weekday; Monday is 1. */
export function weekdayName(number: number, style: "long" | "short" = "long"): string {
  return new Intl.DateTimeFormat(language(), { weekday: style, timeZone: "UTC" }).format(Date.UTC(2024, 0, number));
}

const hourName = (hour: string): string => `${hour.padStart(2, "0")}:00`;

export function replyClassName(code: string): string {
  const known: Record<string, string> = {
    interested: t("Interested"), question: t("Question"), later: t("Later"), not_interested: t("Not interested"),
    wrong_number: t("Wrong number"), stop: t("STOP"), other: t("Other"),
  };
  return known[code] ?? plain(code);
}

/** Return the key of a breakdown in words, such as "Monday 09:00" or "Follow-up 2". */
export function keyName(by: InsightDimension, figure: Pick<FigureRead, "key" | "label">): string {
  const { key, label } = figure;
  if (key === null) return t("None or unknown");
  if (by === "hour") return hourName(key);
  if (by === "weekday") return weekdayName(Number(key));
  if (by === "hour_of_week") return `${weekdayName(Number(key[0]))} ${hourName(key.slice(2))}`;
  if (by === "step") return key === "0" ? t("First message") : t("Follow-up {n}", { n: key });
  if (by === "owner_occupied") return key === "yes" ? t("Yes") : t("No");
  if (by === "reply_class") return replyClassName(key);
  if (by === "year_built_band" && key === "before 1900") return t("before 1900");
  if (by === "value_band") return key === "under 250,000" ? t("under 250,000") : key.includes("more") ? t("1,000,000 and more") : key;
  return label ?? key;
}

export function stageName(stage: FunnelStage): string {
  return {
    messaged: t("Got a message"), delivered: t("Delivered"), replied: t("Replied"), appointment_booked: t("Booked an appointment"),
    quote_sent: t("Got a quote"), job_done: t("Job done"), invoice_paid: t("Paid"),
  }[stage];
}

export function outcomeName(kind: OutcomeKind, name?: string | null): string {
  if (kind === "custom" && name) return name;
  return {
    appointment_booked: t("Appointment booked"), appointment_held: t("Appointment held"), quote_sent: t("Quote sent"), quote_approved: t("Quote approved"),
    job_done: t("Job done"), invoice_paid: t("Invoice paid"), custom: t("Other result"),
  }[kind];
}

export const sourceName = (source: OutcomeSource): string =>
  ({ person: t("A person"), import: t("An import"), calendar: t("A calendar"), api: t("Another system") })[source];

export const modelName = (model: AttributionModel): string =>
  ({ last: t("Last message"), first: t("First message"), linear: t("Equal shares"), time_decay: t("More for later ones") })[model];

export const touchName = (touch: TouchClass): string =>
  ({ replied: t("after a reply"), called: t("after a call"), delivered: t("after a delivery alone") })[touch];

export const costName = (kind: CostKind): string => ({ list_price: t("Price of a list"), labour: t("Hours of work"), other: t("Other") })[kind];

export const recordName = (kind: InsightRecordKind): string =>
  ({ message: t("Message"), outcome: t("Result"), credit: t("Share of a result"), answer: t("Answer"), cost: t("Cost") })[kind];

export function duration(seconds: number): string {
  const digits = { maximumFractionDigits: 1 };
  const n = (value: number) => new Intl.NumberFormat(language(), digits).format(value);
  if (seconds < 60) return t("{n} s", { n: n(seconds) });
  if (seconds < 5_400) return t("{n} min", { n: n(seconds / 60) });
  if (seconds < 172_800) return t("{n} h", { n: n(seconds / 3_600) });
  return t("{n} d", { n: n(seconds / 86_400) });
}

export const cents = (value: number | string): string => dollars(Number(value) / 100);

/** Format a figure with its unit. Return a dash if there is no figure. */
export function shown(value: string | number | null | undefined, unit: InsightUnit): string {
  if (value === null || value === undefined) return "–";
  if (unit === "rate") return rate(value);
  if (unit === "cents") return cents(value);
  if (unit === "seconds") return duration(Number(value));
  if (unit === "ratio") return `${new Intl.NumberFormat(language(), { maximumFractionDigits: 2 }).format(Number(value))} ×`;
  return new Intl.NumberFormat(language(), { maximumFractionDigits: 2 }).format(Number(value));
}

/** Format a value for the tick of an axis, in few characters. */
export function tick(value: number, unit: InsightUnit): string {
  if (unit === "cents") {
    const style = { style: "currency", currency: "USD", notation: "compact", maximumFractionDigits: 1 } as const;
    return new Intl.NumberFormat(language(), style).format(value / 100);
  }
  if (unit === "count") return new Intl.NumberFormat(language(), { notation: "compact" }).format(value);
  return shown(value, unit);
}

/** Format a difference of rates in percentage points, with its sign, such as "+2.7". */
export function points(value: number | string): string {
  const style = { signDisplay: "exceptZero", maximumFractionDigits: 1, minimumFractionDigits: 1 } as const;
  return new Intl.NumberFormat(language(), style).format(Number(value) * 100);
}

export const people = (n: number): string => t("{n, plural, one {# person} other {# people}}", { n });
export const number = (value: number | string | null): string => (value === null ? "–" : count(Number(value)));
