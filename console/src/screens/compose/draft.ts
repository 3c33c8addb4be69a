/** The draft of a campaign: it is stored in this browser, and the API request is made from it. */
import type { Version } from "../../api/changes";
import type {
  Audience, CampaignCreate, CampaignKind, CampaignRead, Exclusion, FollowUp, PacingMode, PreviouslyContacted, Variant, Weekday,
} from "../../api/generated";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { instantOf, localOf } from "../../ui/zoned";

export type Words = { body: string; template: { id: string; version: number } | null };
export type DraftVariant = Words & { weight: string };
export type DraftStep = Words & { hours: string };
export type Draft = {
  name: string;
  line: string;
  /** The audience: `list:ID`, `segment:ID`, or `people` for the contacts in the field `people`. */
  audience: string;
  people: string[];
  exclude: Exclusion | null;
  kind: CampaignKind;
  variants: DraftVariant[];
  known: Words;
  steps: DraftStep[];
  stopsHarmful: boolean;
  shiftsToWinner: boolean;
  days: Weekday[];
  start: string;
  end: string;
  /** The time zone of the sending hours: `recipient`, `line`, or the name of a time zone. */
  zone: string;
  begins: string;
  ends: string;
  limit: string;
  mode: PacingMode;
  batchSize: string;
  batchMinutes: string;
  previously: PreviouslyContacted;
  landlines: boolean;
  minDays: string;
  optOutLimit: string;
  failureLimit: string;
  footer: string;
  repeats: { rule: string; zone: string } | null;
};

export const NO_WORDS: Words = { body: "", template: null };
export const DAYS: Weekday[] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
export const MOST_VARIANTS = 4;
export const MOST_STEPS = 5;

export const EMPTY: Draft = {
  name: "", line: "", audience: "", people: [], exclude: null, kind: "cold", variants: [{ ...NO_WORDS, weight: "100" }], known: NO_WORDS, steps: [],
  stopsHarmful: true, shiftsToWinner: false, days: ["mon", "tue", "wed", "thu", "fri"], start: "09:00", end: "18:00", zone: "recipient", begins: "", ends: "",
  limit: "125", mode: "even", batchSize: "20", batchMinutes: "10", previously: "skip", landlines: true, minDays: "", optOutLimit: "5", failureLimit: "25", footer: "", repeats: null,
};

/**
 * The text that a user has not saved yet. `base` is the version of the stored draft with which the
 * user started; null for a new campaign.
 */
export type Unsaved = { draft: Draft; base: Version<Partial<CampaignCreate>> | null };

/** Each tab keeps its own text, so that two tabs do not overwrite the text of each other. */
const keyOf = (id: string | undefined): string => (id ? `crm-campaign-${id}` : "crm-new-campaign-2");
const TAB = "crm-campaign-tab";
const WAIT_MS = 1_000;
const tabLock = (tab: string): string => `${TAB}-${tab}`;

function tab(): string {
  const known = sessionStorage.getItem(TAB);
  if (known) return known;
  const made = crypto.randomUUID();
  sessionStorage.setItem(TAB, made);
  return made;
}

let isHeld = false;

/** Hold a lock while this tab exists. A copy of a tab has the name of its original, so rename it. */
function holdTab(): void {
  if (isHeld || !navigator.locks) return;
  isHeld = true;
  const hold = (signal?: AbortSignal) => navigator.locks.request(tabLock(tab()), signal ? { signal } : {}, () => new Promise(() => undefined));
  // After a reload, the lock of the page before may still exist for a moment.
  hold(AbortSignal.timeout(WAIT_MS)).catch(() => (sessionStorage.removeItem(TAB), void hold()));
}

function parsed(text: string | null): Unsaved | null {
  try {
    const found = text ? (JSON.parse(text) as Partial<Draft> & Partial<Unsaved>) : null;
    if (!found) return null;
    // An older version of the console stored only the draft.
    return found.draft ? { draft: { ...EMPTY, ...found.draft }, base: found.base ?? null } : { draft: { ...EMPTY, ...found }, base: null };
  } catch {
    return null;
  }
}

/** Return the text that this tab has stored; null if there is none. */
export function kept(id: string | undefined): Unsaved | null {
  holdTab();
  return parsed(sessionStorage.getItem(keyOf(id)));
}

/** Store the text for this tab. A copy in `localStorage` remains when the tab is closed. */
export function keep(id: string | undefined, unsaved: Unsaved): void {
  const text = JSON.stringify(unsaved);
  sessionStorage.setItem(keyOf(id), text);
  localStorage.setItem(`${keyOf(id)}.${tab()}`, text);
}

export function forget(id: string | undefined): void {
  sessionStorage.removeItem(keyOf(id));
  localStorage.removeItem(`${keyOf(id)}.${tab()}`);
}

export type Left = Unsaved & { key: string };

/** Return the texts that closed tabs have left. */
export async function leftByClosedTabs(id: string | undefined): Promise<Left[]> {
  const locks = (await navigator.locks?.query())?.held ?? [];
  const open = new Set([tabLock(tab()), ...locks.map((one) => one.name)]);
  const key = keyOf(id);
  return Object.keys(localStorage)
    .filter((one) => one === key || (one.startsWith(`${key}.`) && !open.has(tabLock(one.slice(key.length + 1)))))
    .flatMap((one) => {
      const found = parsed(localStorage.getItem(one));
      return found ? [{ ...found, key: one }] : [];
    });
}

export function dropLeft(key: string): void {
  localStorage.removeItem(key);
}

/** Continue in this tab with the text of a closed tab. The unsaved text of this tab is kept, and is offered like the text of a closed tab. */
export function takeLeft(id: string | undefined, { key, draft, base }: Left): void {
  const own = sessionStorage.getItem(keyOf(id));
  if (own) localStorage.setItem(`${keyOf(id)}.${crypto.randomUUID()}`, own);
  keep(id, { draft, base });
  dropLeft(key);
}

/** Return the variants with weights that sum to 100, as equal as whole numbers allow. */
export function evenly<One extends { weight: string }>(all: One[]): One[] {
  const each = Math.floor(100 / all.length);
  return all.map((one, at) => ({ ...one, weight: String(at === 0 ? 100 - each * (all.length - 1) : each) }));
}

function audienceOf(draft: Draft): Audience | null {
  const [kind, id] = draft.audience.split(":");
  const exclude = draft.exclude ? { exclude: draft.exclude } : {};
  if (kind === "people" && draft.people.length > 0) return { contact_ids: draft.people, ...exclude };
  if (!id) return null;
  return { ...(kind === "list" ? { list_id: id } : { segment_id: id }), ...exclude };
}

const wordsOf = ({ body, template }: Words) => (template ? { template_id: template.id, template_version: template.version } : { body });
const share = (percent: string): string | null => (percent.trim() ? String(Number(percent) / 100) : null);
const isWritten = ({ body }: Words): boolean => body.trim() !== "";

/** Return whether a new campaign has anything that a user has entered. */
export function hasText({ name, audience, variants, known, steps }: Draft): boolean {
  return name.trim() !== "" || audience !== "" || [...variants, known, ...steps].some(isWritten);
}

function variantsOf(draft: Draft): Variant[] {
  const all = draft.variants.filter(isWritten);
  const weighed = all.length === draft.variants.length ? all : evenly(all);
  const known: Variant[] = draft.kind === "mixed" ? [{ name: "known", weight: 0, for_known: true, ...wordsOf(draft.known) }] : [];
  return [...weighed.map((one, at) => ({ name: "ABCD"[at]!, weight: Number(one.weight) || 0, ...wordsOf(one) })), ...known];
}

/** Return the request for the API; null while required input is missing. */
export function requestOf(draft: Draft): CampaignCreate | null {
  const audience = audienceOf(draft);
  const variants = variantsOf(draft);
  const isMissing = !draft.line || !audience || !draft.variants.some(isWritten) || (draft.kind === "mixed" && !isWritten(draft.known));
  if (isMissing) return null;
  const follow_ups: FollowUp[] = draft.steps.filter(isWritten).map((one) => ({ after_hours: Number(one.hours) || 72, ...wordsOf(one) }));
  const zone = currentZone();
  return {
    name: draft.name.trim() || t("Untitled"),
    line_id: draft.line,
    kind: draft.kind,
    audience,
    variants,
    ab_test: variants.length > 1 && draft.kind !== "mixed" ? { stop_harmful: draft.stopsHarmful, shift_to_winner: draft.shiftsToWinner } : null,
    follow_ups,
    schedule: {
      days: draft.days,
      window: { start: draft.start, end: draft.end },
      timezone: draft.zone === "line" ? null : draft.zone,
      start_at: draft.begins ? instantOf(draft.begins, zone).toISOString() : null,
      end_at: draft.ends ? instantOf(draft.ends, zone).toISOString() : null,
    },
    pacing: {
      daily_limit: Number(draft.limit) || 125,
      mode: draft.mode,
      ...(draft.mode === "burst" ? { batch_size: Number(draft.batchSize) || 1, batch_interval_minutes: Number(draft.batchMinutes) || 1 } : {}),
    },
    rules: {
      previously_contacted: draft.previously,
      skip_landlines: draft.landlines,
      min_days_between: draft.minDays ? Number(draft.minDays) : null,
      max_opt_out_rate: share(draft.optOutLimit),
      max_failure_rate: share(draft.failureLimit),
      opt_out_footer: draft.footer.trim() || null,
    },
    recurrence: draft.repeats ? { rrule: draft.repeats.rule, timezone: draft.repeats.zone } : null,
  };
}

const percent = (rate: string | null): string => (rate === null ? "" : String(Number((Number(rate) * 100).toFixed(4))));
const kindOf = (one: { body: string; template_id: string | null; template_version: number | null }): Words => ({
  body: one.body,
  template: one.template_id && one.template_version ? { id: one.template_id, version: one.template_version } : null,
});

function audienceNamed(audience: Audience): Pick<Draft, "audience" | "people" | "exclude"> {
  const { list_id, segment_id, contact_ids, exclude } = audience;
  const named = list_id ? `list:${list_id}` : segment_id ? `segment:${segment_id}` : "people";
  return { audience: named, people: contact_ids ?? [], exclude: exclude ?? null };
}

/** Return the draft for a campaign that the API returned. */
export function draftOf(one: CampaignRead): Draft {
  const zone = currentZone();
  const known = one.variants.find((variant) => variant.for_known);
  return {
    name: one.name,
    line: one.line_id,
    ...audienceNamed(one.audience as Audience),
    kind: one.kind,
    variants: one.variants.filter((variant) => !variant.for_known).map((variant) => ({ ...kindOf(variant), weight: String(variant.weight) })),
    known: known ? kindOf(known) : NO_WORDS,
    steps: one.follow_ups.map((step) => ({ ...kindOf(step), hours: String(step.after_hours) })),
    stopsHarmful: one.ab_test?.stop_harmful ?? true,
    shiftsToWinner: one.ab_test?.shift_to_winner ?? false,
    days: one.schedule.days as Weekday[],
    start: one.schedule.window.start,
    end: one.schedule.window.end,
    zone: one.schedule.timezone,
    begins: one.schedule.start_at ? localOf(one.schedule.start_at, zone) : "",
    ends: one.schedule.end_at ? localOf(one.schedule.end_at, zone) : "",
    limit: String(one.pacing.daily_limit),
    mode: one.pacing.mode,
    batchSize: String(one.pacing.batch_size ?? EMPTY.batchSize),
    batchMinutes: String(one.pacing.batch_interval_minutes ?? EMPTY.batchMinutes),
    previously: one.rules.previously_contacted,
    landlines: one.rules.skip_landlines,
    minDays: one.rules.min_days_between === null ? "" : String(one.rules.min_days_between),
    optOutLimit: percent(one.rules.max_opt_out_rate),
    failureLimit: percent(one.rules.max_failure_rate),
    footer: one.rules.opt_out_footer ?? "",
    repeats: one.recurrence ? { rule: one.recurrence.rrule, zone: one.recurrence.timezone } : null,
  };
}
