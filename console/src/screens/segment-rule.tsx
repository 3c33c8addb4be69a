/** The editor for one rule of a segment: field, operator, and an input that fits the value. */
import { useState } from "react";
import type { SegmentFieldRead } from "../api/generated";
import { currentZone } from "../format";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { flagName } from "../ui/code-names";
import { RECIPIENT_STATUSES, recipientStatus } from "../ui/words";
import { instantOf, localOf } from "../ui/zoned";
import { choiceName, fieldName, fieldOf, isNumeric, opName, shapeOf, valueText, type Names, type RuleNode } from "./segment-tree";

export type Choices = Names & { fields: SegmentFieldRead[]; tags: string[] };
type Value = { rule: RuleNode; choices: Choices; onChange: (value: unknown) => void };

export function RuleEditor({ rule, choices, error, onChange, onRemove }: {
  rule: RuleNode;
  choices: Choices;
  error?: string | undefined;
  onChange: (rule: RuleNode) => void;
  onRemove?: (() => void) | undefined;
}) {
  const { fields } = choices;
  const isOwn = rule.field.startsWith("attributes.") && !fields.some((one) => one.name === rule.field);
  const field = fieldOf(fields, rule.field);
  const operators = field?.operators ?? (isOwn ? OWN_OPERATORS : []);
  const choose = (name: string) => {
    const next = fieldOf(fields, name);
    const allowed = next?.operators ?? (name.startsWith("attributes.") ? OWN_OPERATORS : []);
    const op = allowed.includes(rule.op) ? rule.op : (allowed[0] ?? "");
    const keeps = shapeOf(next, op) === shapeOf(field, rule.op) && next?.kind === field?.kind && next?.kind === "text";
    onChange({ ...rule, field: name, op, value: keeps ? rule.value : firstValue(next, op) });
  };
  const turn = (op: string) => onChange({ ...rule, op, value: shapeOf(field, op) === shapeOf(field, rule.op) ? rule.value : firstValue(field, op) });
  return (
    <div className="rule" data-invalid={error ? "true" : undefined}>
      <div className="rule-parts">
        <select aria-label={t("Field")} value={isOwn ? "attributes." : rule.field} onChange={(event) => choose(event.target.value)}>
          <option value="" disabled>{t("Choose a field")}</option>
          <optgroup label={t("Contact")}>
            {fields.filter((one) => one.kind !== "attribute").map((one) => <option key={one.name} value={one.name}>{fieldName(one.name, one.label)}</option>)}
          </optgroup>
          <optgroup label={t("Own fields")}>
            {fields.filter((one) => one.kind === "attribute").map((one) => <option key={one.name} value={one.name}>{one.label}</option>)}
            <option value="attributes.">{t("Another field of your files")}</option>
          </optgroup>
        </select>
        {isOwn && (
          <input aria-label={t("Name of the field")} placeholder="year_built" value={rule.field.slice(11)} onChange={(event) => onChange({ ...rule, field: `attributes.${event.target.value}` })} />
        )}
        {rule.field && (
          <select aria-label={t("Comparison")} value={rule.op} onChange={(event) => turn(event.target.value)}>
            {operators.map((one) => <option key={one} value={one}>{opName(one, field?.kind)}</option>)}
          </select>
        )}
        {rule.op && <ValueEditor rule={rule} choices={choices} onChange={(value) => onChange({ ...rule, value })} />}
      </div>
      {onRemove && (
        <button type="button" className="icon-button" aria-label={t("Remove the rule")} onClick={onRemove}>
          <Icon name="close" size={13} />
        </button>
      )}
      {error && <p className="field-error">{error}</p>}
    </div>
  );
}

const OWN_OPERATORS = [
  "eq", "ne", "in", "not_in", "contains", "not_contains", "starts_with", "ends_with", "gt", "gte", "lt", "lte", "before", "after", "between",
  "within_last", "not_within_last", "within_next", "is_empty", "is_not_empty",
];

function firstValue(field: SegmentFieldRead | undefined, op: string): unknown {
  const shape = shapeOf(field, op);
  if (shape === "yes_no") return true;
  if (shape === "distance") return { days: 30 };
  return undefined;
}

function ValueEditor(props: Value) {
  const { rule, choices, onChange } = props;
  const field = fieldOf(choices.fields, rule.field);
  switch (shapeOf(field, rule.op)) {
    case "none":
      return null;
    case "yes_no":
      return (
        <select aria-label={t("Value")} value={String(rule.value ?? true)} onChange={(event) => onChange(event.target.value === "true")}>
          <option value="true">{t("yes")}</option>
          <option value="false">{t("no")}</option>
        </select>
      );
    case "many":
      return <Many {...props} />;
    case "distance":
      return <Distance {...props} />;
    case "campaign":
      return <CampaignValue {...props} />;
    case "number":
      return <NumberValue label={t("Value")} value={rule.value} onChange={onChange} />;
    case "numbers":
      return <Two rule={rule} onChange={onChange} one={(label, value, set) => <NumberValue label={label} value={value} onChange={set} />} />;
    case "date":
      return <input type="date" aria-label={t("Value")} value={String(rule.value ?? "")} onChange={(event) => onChange(event.target.value || undefined)} />;
    case "dates":
      return <Two rule={rule} onChange={onChange} one={(label, value, set) => <input type="date" aria-label={label} value={String(value ?? "")} onChange={(event) => set(event.target.value)} />} />;
    case "instant":
      return <Instant label={t("Value")} value={rule.value} onChange={onChange} />;
    case "instants":
      return <Two rule={rule} onChange={onChange} one={(label, value, set) => <Instant label={label} value={value} onChange={set} />} />;
    case "text": {
      const options = optionsOf(choices, rule.field);
      return options.length ? (
        <select aria-label={t("Value")} value={String(rule.value ?? "")} onChange={(event) => onChange(event.target.value || undefined)}>
          <option value="" disabled>{t("Choose")}</option>
          {withKept(options, rule.value, rule.field, choices).map(([value, name]) => <option key={value} value={value}>{name}</option>)}
        </select>
      ) : (
        <input aria-label={t("Value")} value={String(rule.value ?? "")} onChange={(event) => onChange(typed(event.target.value, field))} />
      );
    }
  }
}

/**
 * Convert typed text to a value. For a field without a type, "1960" becomes a number, because the
 * API then also finds the text "1960".
 */
function typed(text: string, field: SegmentFieldRead | undefined): unknown {
  return isUntyped(field) && NUMBER.test(text) ? Number(text) : text || undefined;
}

const NUMBER = /^-?\d{1,15}(\.\d+)?$/;
const isUntyped = (field: SegmentFieldRead | undefined) => !field || (field.kind === "attribute" && !field.type);

function optionsOf(choices: Choices, name: string): [string, string][] {
  if (name === "tags") return choices.tags.map((one) => [one, one]);
  if (name === "lists") return choices.lists.map((one) => [one.id, one.name]);
  if (name === "flags") return FLAGS.map((one) => [one, flagName(one)]);
  return (fieldOf(choices.fields, name)?.choices ?? []).map((one) => [one, choiceName(name, one)]);
}

export const FLAGS = ["opted_out", "opt_out_hold", "do_not_contact", "office_number", "recently_texted", "invalid_number", "blocked_sender"];

function withKept(options: [string, string][], value: unknown, field: string, choices: Choices): [string, string][] {
  const text = String(value ?? "");
  return !text || options.some(([one]) => one === text) ? options : [...options, [text, valueText(field, value, choices)]];
}

function Many({ rule, choices, onChange }: Value) {
  const chosen = Array.isArray(rule.value) ? (rule.value as (string | number)[]) : [];
  const [text, setText] = useState("");
  const field = fieldOf(choices.fields, rule.field);
  const options = optionsOf(choices, rule.field);
  const mayBeNumbers = isUntyped(field) || isNumeric(field);
  const add = (values: string[]) => {
    const known = new Set(chosen.map(String));
    const more = values.map((one) => one.trim()).filter((one) => one && !known.has(one));
    const next = [...chosen.map(String), ...more];
    if (more.length) onChange(mayBeNumbers && next.every((one) => NUMBER.test(one)) ? next.map(Number) : next);
    setText("");
  };
  return (
    <div className="chips">
      {chosen.map((one) => (
        <span key={one} className="chip">
          {valueText(rule.field, one, choices)}
          <button type="button" aria-label={t("Remove {name}", { name: valueText(rule.field, one, choices) })} onClick={() => onChange(chosen.filter((other) => other !== one))}>
            <Icon name="close" size={11} />
          </button>
        </span>
      ))}
      {options.length ? (
        <select aria-label={t("Add a value")} value="" onChange={(event) => add([event.target.value])}>
          <option value="" disabled>{t("Add…")}</option>
          {options.filter(([value]) => !chosen.includes(value)).map(([value, name]) => <option key={value} value={value}>{name}</option>)}
        </select>
      ) : (
        <input
          aria-label={t("Add a value")}
          placeholder={t("Value, then Enter")}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onBlur={() => add(text.split(","))}
          onKeyDown={(event) => event.key === "Enter" && (event.preventDefault(), add(text.split(",")))}
        />
      )}
    </div>
  );
}

function Distance({ rule, onChange }: Value) {
  const [unit = "days", n = 30] = Object.entries((rule.value ?? {}) as Record<string, number | null>).find(([, one]) => one !== null) ?? [];
  return (
    <span className="rule-pair">
      <input type="number" min={1} aria-label={t("Number")} value={n ?? ""} onChange={(event) => onChange({ [unit]: event.target.valueAsNumber || 0 })} />
      <select aria-label={t("Unit")} value={unit} onChange={(event) => onChange({ [event.target.value]: n || 1 })}>
        <option value="hours">{t("hours")}</option>
        <option value="days">{t("days")}</option>
        <option value="weeks">{t("weeks")}</option>
      </select>
    </span>
  );
}

function CampaignValue({ rule, choices, onChange }: Value) {
  const value = (rule.value ?? {}) as { campaign_id?: string; status?: string[] | null; replied?: boolean | null; step?: number };
  const set = (change: Record<string, unknown>) => {
    const next = Object.entries({ ...value, ...change }).filter(([, one]) => one !== null && one !== undefined && one !== "");
    onChange(Object.fromEntries(next));
  };
  const options = withKept(choices.campaigns.map((one) => [one.id, one.name]), value.campaign_id, "campaigns", choices);
  return (
    <span className="rule-pair">
      <select aria-label={t("Campaign")} value={value.campaign_id ?? ""} onChange={(event) => set({ campaign_id: event.target.value })}>
        <option value="" disabled>{t("Choose a campaign")}</option>
        {options.map(([id, name]) => <option key={id} value={id}>{name}</option>)}
      </select>
      <select aria-label={t("Status")} value={value.status?.[0] ?? ""} onChange={(event) => set({ status: event.target.value ? [event.target.value] : null })}>
        <option value="">{t("Any status")}</option>
        {RECIPIENT_STATUSES.map((one) => <option key={one} value={one}>{recipientStatus(one)}</option>)}
      </select>
      <select aria-label={t("Reply")} value={value.replied === undefined || value.replied === null ? "" : String(value.replied)} onChange={(event) => set({ replied: event.target.value ? event.target.value === "true" : null })}>
        <option value="">{t("Reply or not")}</option>
        <option value="true">{t("Replied")}</option>
        <option value="false">{t("No reply")}</option>
      </select>
    </span>
  );
}

function NumberValue({ label, value, onChange }: { label: string; value: unknown; onChange: (value: unknown) => void }) {
  return <input type="number" step="any" aria-label={label} value={typeof value === "number" ? value : ""} onChange={(event) => onChange(Number.isNaN(event.target.valueAsNumber) ? undefined : event.target.valueAsNumber)} />;
}

function Instant({ label, value, onChange }: { label: string; value: unknown; onChange: (value: unknown) => void }) {
  const zone = currentZone();
  return (
    <input
      type="datetime-local"
      aria-label={`${label} (${zone})`}
      title={zone}
      value={typeof value === "string" && value ? localOf(value, zone) : ""}
      onChange={(event) => onChange(event.target.value ? instantOf(event.target.value, zone).toISOString() : undefined)}
    />
  );
}

function Two({ rule, onChange, one }: { rule: RuleNode; onChange: (value: unknown) => void; one: (label: string, value: unknown, set: (value: unknown) => void) => React.ReactNode }) {
  const [from, to] = Array.isArray(rule.value) ? rule.value : [undefined, undefined];
  return (
    <span className="rule-pair">
      {one(t("From"), from, (value) => onChange([value, to]))}
      <span className="faint">{t("and")}</span>
      {one(t("To"), to, (value) => onChange([from, value]))}
    </span>
  );
}
