/** The tree of a segment's rules, and its conversion to and from the filter of the API. */
import type { MembershipStatus, ReplyClass, SegmentAll, SegmentCreate, SegmentFieldRead, SegmentRule } from "../api/generated";
import { phone, when } from "../format";
import { t } from "../i18n";
import { flagName } from "../ui/code-names";
import { plain, recipientStatus } from "../ui/words";
import { className } from "./inbox/words";

export type Filter = SegmentCreate["filter"];
export type Join = "all" | "any" | "none" | "not_all";
export type RuleNode = { kind: "rule"; key: number; field: string; op: string; value: unknown };
export type GroupNode = { kind: "group"; key: number; join: Join; members: Node[] };
export type Node = RuleNode | GroupNode;
export type Named = { id: string; name: string };
export type Names = { lists: Named[]; campaigns: Named[] };

let lastKey = 0;
export const newKey = (): number => ++lastKey;

export function newRule(): RuleNode {
  return { kind: "rule", key: newKey(), field: "", op: "", value: undefined };
}

export function newGroup(join: Join = "all"): GroupNode {
  return { kind: "group", key: newKey(), join, members: [newRule()] };
}

type Raw = { all?: Raw[]; any?: Raw[]; not?: Raw; field?: string; op?: string; value?: unknown };

function nodeOf(raw: Raw): Node {
  if (raw.all) return { kind: "group", key: newKey(), join: "all", members: raw.all.map(nodeOf) };
  if (raw.any) return { kind: "group", key: newKey(), join: "any", members: raw.any.map(nodeOf) };
  if (raw.not) {
    const inner = nodeOf(raw.not);
    if (inner.kind === "rule") return { kind: "group", key: newKey(), join: "none", members: [inner] };
    const opposite = ({ all: "not_all", any: "none", none: "any", not_all: "all" } as const)[inner.join];
    return { ...inner, join: opposite };
  }
  return { kind: "rule", key: newKey(), field: raw.field ?? "", op: raw.op ?? "", value: raw.value };
}

/** Return the tree of a filter. Its root is always a group. */
export function treeOf(filter: unknown): GroupNode {
  const root = nodeOf((filter ?? {}) as Raw);
  return root.kind === "group" ? root : { kind: "group", key: newKey(), join: "all", members: [root] };
}

function rawOf(node: Node): Raw {
  if (node.kind === "rule") return { field: node.field, op: node.op, ...(node.value === undefined ? {} : { value: node.value }) };
  const members = node.members.map(rawOf);
  if (node.join === "all") return { all: members };
  if (node.join === "any") return { any: members };
  return { not: node.join === "none" ? { any: members } : { all: members } };
}

export function filterOf(tree: GroupNode): Filter {
  return rawOf(tree) as SegmentAll;
}

/** Return the JSON pointer of a member of the group at `pointer`. */
export function memberPointer(pointer: string, join: Join, at: number): string {
  const inside = { all: "all", any: "any", none: "not/any", not_all: "not/all" }[join];
  return `${pointer}/${inside}/${at}`;
}

export type Shape =
  | "none" | "yes_no" | "many" | "text" | "number" | "numbers" | "instant" | "instants" | "date" | "dates" | "distance" | "campaign";

const NUMBERS = new Set(["integer", "number"]);

/** Return whether all values of the field are numbers. */
export function isNumeric(field: SegmentFieldRead | undefined): boolean {
  return NUMBERS.has(field?.type ?? "") || (field?.kind as string | undefined) === "number";
}

/** Return which kind of input a rule needs for its value. */
export function shapeOf(field: SegmentFieldRead | undefined, op: string): Shape {
  if (op === "is_empty" || op === "is_not_empty") return "none";
  if (op.includes("within")) return "distance";
  if (["in", "not_in", "contains_any", "contains_all"].includes(op)) return "many";
  const kind = field?.kind ?? "attribute";
  if (kind === "boolean" || (field?.type === "boolean" && ["eq", "ne"].includes(op))) return "yes_no";
  if (kind === "campaigns") return "campaign";
  const isTime = kind === "instant" || kind === "contact_instant";
  if (op === "between") return isTime ? "instants" : field?.type === "date" ? "dates" : "numbers";
  if (op === "before" || op === "after") return isTime ? "instant" : "date";
  if (field?.type === "date" && ["eq", "ne"].includes(op)) return "date";
  if (["gt", "gte", "lt", "lte"].includes(op) || (isNumeric(field) && ["eq", "ne"].includes(op))) return "number";
  return "text";
}

/** Return whether a rule is complete, or a group and all its members are complete. */
export function isWhole(node: Node, fields: SegmentFieldRead[]): boolean {
  if (node.kind === "group") return node.members.length > 0 && node.members.every((one) => isWhole(one, fields));
  if (!node.field || !node.op || node.field === "attributes.") return false;
  const { value } = node;
  switch (shapeOf(fieldOf(fields, node.field), node.op)) {
    case "none":
      return true;
    case "many":
      return Array.isArray(value) && value.length > 0;
    case "numbers":
    case "instants":
    case "dates":
      return Array.isArray(value) && value.length === 2 && value.every((one) => one !== "" && one !== null && one !== undefined);
    case "distance":
      return Object.values((value ?? {}) as Record<string, number>).some((one) => one >= 1);
    case "campaign":
      return Boolean((value as { campaign_id?: string } | undefined)?.campaign_id);
    default:
      return value !== undefined && value !== null && value !== "";
  }
}

export function fieldOf(fields: SegmentFieldRead[], name: string): SegmentFieldRead | undefined {
  return fields.find((one) => one.name === name) ?? (name.startsWith("attributes.") ? fields.find((one) => one.kind === "attribute" && !one.type) : undefined);
}

export function fieldName(name: string, label?: string): string {
  const known: Record<string, string> = {
    first_name: t("First name"), last_name: t("Last name"), email: t("E-mail"), company: t("Company"), street: t("Street"), city: t("City"),
    state: t("State"), postal_code: t("ZIP code"), country: t("Country"), timezone: t("Time zone"), source: t("Source"), phone: t("Phone"),
    tags: t("Tags"), lists: t("Lists"), flags: t("Flags"), opted_out: t("Opted out"), created_at: t("Added"), updated_at: t("Changed"),
    last_contacted_at: t("Last contacted"), last_replied_at: t("Last replied"), campaigns: t("Campaigns"), engagement_score: t("Engagement score"), engagement_grade: t("Engagement grade"), reply_class: t("Reply class"),
  };
  return known[name] ?? label ?? plain(name.replace(/^attributes\./, ""));
}

export function opName(op: string, kind?: string): string {
  const isSet = kind === "tags" || kind === "lists" || kind === "flags" || kind === "campaigns";
  const names: Record<string, string> = {
    eq: t("is"), ne: t("is not"), in: t("is one of"), not_in: t("is none of"),
    contains: isSet ? t("include") : t("contains"), not_contains: isSet ? t("do not include") : t("does not contain"),
    contains_any: t("include any of"), contains_all: t("include all of"), starts_with: t("begins with"), ends_with: t("ends with"),
    is_empty: isSet ? t("are empty") : t("is empty"), is_not_empty: isSet ? t("are not empty") : t("is not empty"),
    gt: t("is more than"), gte: t("is at least"), lt: t("is less than"), lte: t("is at most"), before: t("is before"), after: t("is after"),
    between: t("is between"), within_last: t("in the last"), not_within_last: t("not in the last"), within_next: t("in the next"),
  };
  return names[op] ?? plain(op);
}

export function joinName(join: Join): string {
  return { all: t("All of these"), any: t("Any of these"), none: t("None of these"), not_all: t("Not all of these") }[join];
}

function amount(value: Record<string, number | null>): string {
  const [unit, n] = Object.entries(value).find(([, one]) => one) ?? ["days", 0];
  if (unit === "hours") return t("{n, plural, one {# hour} other {# hours}}", { n });
  if (unit === "weeks") return t("{n, plural, one {# week} other {# weeks}}", { n });
  return t("{n, plural, one {# day} other {# days}}", { n });
}

function nameOf(named: Named[], id: unknown): string {
  return named.find((one) => one.id === id)?.name ?? t("one that was deleted");
}

/** Return the name of one of the values that a field can have. */
export function choiceName(field: string, value: string): string {
  return field === "reply_class" ? (className(value as ReplyClass) ?? plain(value)) : value;
}

/** Return the value of a rule, or the value that a contact has, in words. */
export function valueText(field: string, value: unknown, names: Names): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? t("yes") : t("no");
  if (field === "campaigns" && typeof value === "object" && "campaign_id" in value) {
    const rule = value as { campaign_id: string; status?: string[] | null; replied?: boolean | null };
    const more = [...(rule.status ?? []).map((one) => recipientStatus(one as MembershipStatus) ?? plain(one)), ...(rule.replied === true ? [t("replied")] : rule.replied === false ? [t("no reply")] : [])];
    return [nameOf(names.campaigns, rule.campaign_id), ...more].join(", ");
  }
  if (Array.isArray(value)) return value.map((one) => valueText(field, one, names)).join(", ") || "–";
  if (typeof value === "object") {
    if ("name" in value) return String(value.name);
    return "days" in value || "hours" in value || "weeks" in value ? amount(value as Record<string, number>) : JSON.stringify(value);
  }
  if (field === "lists") return nameOf(names.lists, value);
  if (field === "phone") return phone(String(value));
  if (field === "flags") return flagName(String(value));
  if (field === "reply_class") return choiceName(field, String(value));
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? when(value) : String(value);
}

export function ruleText(rule: Pick<SegmentRule, "field"> & { op: string; value?: unknown }, fields: SegmentFieldRead[], names: Names): string {
  const field = fields.find((one) => one.name === rule.field);
  const begin = `${fieldName(rule.field, field?.label)} ${opName(rule.op, field?.kind)}`;
  return shapeOf(fieldOf(fields, rule.field), rule.op) === "none" ? begin : `${begin} ${valueText(rule.field, rule.value, names)}`;
}

/** Return the whole tree as text in one line, for lists. */
export function treeText(node: Node, fields: SegmentFieldRead[], names: Names): string {
  if (node.kind === "rule") return ruleText(node, fields, names);
  const parts = node.members.map((one) => (one.kind === "group" && one.members.length > 1 ? `(${treeText(one, fields, names)})` : treeText(one, fields, names)));
  const inside = parts.join(node.join === "all" || node.join === "not_all" ? ` ${t("and")} ` : ` ${t("or")} `);
  return node.join === "none" || node.join === "not_all" ? t("not ({rules})", { rules: inside }) : inside;
}
