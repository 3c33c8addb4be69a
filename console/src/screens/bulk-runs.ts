/** Changes of many contacts: a dry run, then the change in parts. Some changes can be undone. */
import { data } from "../api/client";
import {
  addFlag, addMembers, changeTags, createList, createUpload, getContact, getTagChange, getUpload, optOutMany, removeFlag, removeMember,
  type TagChangeRead, type UploadRead,
} from "../api/generated";
import { filterQuery, readPeople, type Person } from "../api/people-export";
import { t } from "../i18n";
import type { ContactSearch } from "../routes";

export type Action =
  | { kind: "tag" | "untag"; tag: string }
  | { kind: "list"; list: string; name: string }
  | { kind: "opt_out"; reason: string }
  | { kind: "do_not_contact"; reason: string }
  | { kind: "flag"; flag: string; reason: string };

export type Target = { ids: string[] } | { filter: ContactSearch };
export type Figure = { name: string; label: string; value: number };
export type Steps = { onProgress: (done: number, of: number) => void; signal: AbortSignal };
export type Done = { text: string; undo?: ((steps: Steps) => Promise<string>) | undefined };
/** The result of a dry run, and the function that makes the change. */
export type Tried = { figures: Figure[]; changes: number; run: (steps: Steps) => Promise<Done> };

const TAGS_AT_ONCE = 1_000;
const MEMBERS_AT_ONCE = 1_000;
const OPT_OUTS_AT_ONCE = 500;
const MOST_SINGLE = 1_000;
const AGAIN_MS = 700;

function parts<One>(all: One[], size: number): One[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size));
}

const pause = () => new Promise((done) => setTimeout(done, AGAIN_MS));

/** Call `work` for one part of the people after the other, and report how many people are done. */
async function each<One>(all: One[], size: number, { onProgress, signal }: Steps, work: (part: One[], at: number) => Promise<void>): Promise<void> {
  let done = 0;
  onProgress(0, all.length);
  for (const [at, part] of parts(all, size).entries()) {
    signal.throwIfAborted();
    await work(part, at);
    done += part.length;
    onProgress(done, all.length);
  }
}

async function peopleOf(target: Target, steps: Steps): Promise<Person[]> {
  if ("filter" in target) return readPeople(target.filter, (n) => steps.onProgress(n, 0), steps.signal);
  const found: Person[] = [];
  await each(target.ids, 5, steps, async (ids) => {
    const some = await Promise.all(ids.map((id) => data(getContact({ path: { contact_id: id }, throwOnError: true }))));
    found.push(...some.map((one) => ({ id: one.id, phone: one.phone, tags: one.tags, lists: [], flags: one.flags })));
  });
  return found;
}

/** Count what the action would change. Nothing is changed yet. */
export async function tryAction(action: Action, target: Target, steps: Steps): Promise<Tried> {
  if ((action.kind === "tag" || action.kind === "untag") && "filter" in target && !target.filter.segment) return tryTagsOfFilter(action, target.filter);
  const people = await peopleOf(target, steps);
  switch (action.kind) {
    case "tag":
    case "untag":
      return tryTags(action.kind, action.tag, people);
    case "list":
      return tryList(action, people, steps);
    case "opt_out":
      return tryOptOut(action.reason, people, steps);
    case "do_not_contact":
      return tryDoNotContact(action.reason, people, steps);
    case "flag":
      return tryFlag(action, people);
  }
}

async function waitForTags(change: TagChangeRead, { onProgress, signal }: Steps, of: number): Promise<TagChangeRead> {
  let now = change;
  while (now.status === "running") {
    onProgress(now.matched, Math.max(of, now.matched));
    signal.throwIfAborted();
    await pause();
    now = await data(getTagChange({ path: { change_id: now.id! }, throwOnError: true }));
  }
  onProgress(now.matched, now.matched);
  return now;
}

type TagAction = { kind: "tag" | "untag"; tag: string };
const tagsOf = ({ kind, tag }: TagAction) => (kind === "tag" ? { add: [tag] } : { remove: [tag] });
const opposite = ({ kind, tag }: TagAction): TagAction => ({ kind: kind === "tag" ? "untag" : "tag", tag });

/** Try a change of a tag for a filter. The API finds the people, so their number has no limit. */
async function tryTagsOfFilter(action: TagAction, filter: ContactSearch): Promise<Tried> {
  const wanted = filterQuery(filter);
  const total = (await data(changeTags({ body: { filter: wanted, ...tagsOf(action), dry_run: true }, throwOnError: true }))).matched;
  const withTag = filter.tag && filter.tag !== action.tag ? null : (await data(changeTags({ body: { filter: { ...wanted, tag: action.tag }, ...tagsOf(action), dry_run: true }, throwOnError: true }))).matched;
  const same = withTag === null ? null : action.kind === "tag" ? withTag : total - withTag;
  const figures = [figure("matched", t("People"), total), ...(same === null ? [] : [figure("unchanged", t("Stay as they are"), same)])];
  return {
    figures,
    changes: same === null ? total : total - same,
    run: async (steps) => {
      const started = await data(changeTags({ body: { filter: wanted, ...tagsOf(action) }, throwOnError: true }));
      const change = await waitForTags(started, steps, total);
      // The undo removes the tag from everyone. So offer it only if nobody had the tag before.
      const isExact = action.kind === "tag" && same === 0;
      const undo = async (again: Steps) => {
        const back = await data(changeTags({ body: { filter: { ...wanted, tag: action.tag }, ...tagsOf(opposite(action)) }, throwOnError: true }));
        return undone((await waitForTags(back, again, total)).changed);
      };
      return { text: changedText(change.changed, change.refused), ...(isExact ? { undo } : {}) };
    },
  };
}

function tryTags(kind: "tag" | "untag", tag: string, people: Person[]): Tried {
  const action = { kind, tag };
  const ids = people.filter((one) => one.tags.includes(tag) === (kind === "untag")).map((one) => one.id);
  const change = async (wanted: TagAction, steps: Steps) => {
    let changed = 0;
    let refused = 0;
    await each(ids, TAGS_AT_ONCE, steps, async (part) => {
      const quiet = { signal: steps.signal, onProgress: () => undefined };
      const one = await waitForTags(await data(changeTags({ body: { contact_ids: part, ...tagsOf(wanted) }, throwOnError: true })), quiet, part.length);
      changed += one.changed;
      refused += one.refused;
    });
    return { changed, refused };
  };
  return {
    figures: [figure("matched", t("People"), people.length), figure("unchanged", t("Stay as they are"), people.length - ids.length)],
    changes: ids.length,
    run: async (steps) => {
      const { changed, refused } = await change(action, steps);
      return { text: changedText(changed, refused), undo: async (again) => undone((await change(opposite(action), again)).changed) };
    },
  };
}

async function tryList(action: { list: string; name: string }, people: Person[], steps: Steps): Promise<Tried> {
  const ids = people.map((one) => one.id);
  const tokens: string[] = [];
  let added = 0;
  let known = 0;
  if (action.list) {
    await each(ids, MEMBERS_AT_ONCE, steps, async (part) => {
      const tried = await data(addMembers({ path: { list_id: action.list }, body: { contact_ids: part, dry_run: true }, throwOnError: true }));
      added += tried.counts?.added ?? 0;
      known += tried.counts?.already_members ?? 0;
      tokens.push(tried.token ?? "");
    });
  } else added = ids.length;
  const fresh = people.filter((one) => !one.lists.includes(action.name)).map((one) => one.id);
  return {
    figures: [figure("added", t("Would join the list"), added), figure("already_members", t("Are on it already"), known)],
    changes: added,
    run: async (again) => {
      const list = action.list || (await data(createList({ body: { name: action.name }, throwOnError: true }))).id;
      await each(ids, MEMBERS_AT_ONCE, again, async (part, at) => {
        await addMembers({ path: { list_id: list }, body: { contact_ids: part, ...(tokens[at] ? { token: tokens[at] } : {}) }, throwOnError: true });
      });
      const undo = async (once: Steps) => {
        await each(fresh, 1, once, async ([id]) => void (await removeMember({ path: { list_id: list, contact_id: id! }, throwOnError: true })));
        return undone(fresh.length);
      };
      // The lists of people who were selected one by one are not known. So `fresh` is right only if
      // the two numbers are equal.
      const isExact = fresh.length === added && fresh.length <= MOST_SINGLE;
      return { text: changedText(added, 0), ...(isExact ? { undo } : {}) };
    },
  };
}

async function tryOptOut(reason: string, people: Person[], steps: Steps): Promise<Tried> {
  const ids = people.map((one) => one.id);
  const tokens: string[] = [];
  let numbers = 0;
  let fresh = 0;
  await each(ids, OPT_OUTS_AT_ONCE, steps, async (part) => {
    const tried = await data(optOutMany({ body: { contact_ids: part, reason, dry_run: true }, throwOnError: true }));
    numbers += tried.counts?.numbers ?? 0;
    fresh += tried.counts?.newly_opted_out ?? 0;
    tokens.push(tried.token ?? "");
  });
  return {
    figures: [figure("numbers", t("Numbers"), numbers), figure("newly_opted_out", t("Would be opted out"), fresh)],
    changes: fresh,
    run: async (again) => {
      let done = 0;
      await each(ids, OPT_OUTS_AT_ONCE, again, async (part, at) => {
        const made = await data(optOutMany({ body: { contact_ids: part, reason, token: tokens[at]! }, throwOnError: true }));
        done += made.newly_opted_out;
      });
      return { text: changedText(done, 0) };
    },
  };
}

async function upload(people: Person[], reason: string, isDry: boolean, { onProgress, signal }: Steps): Promise<UploadRead> {
  const file = new File([["phone", ...people.map((one) => one.phone)].join("\n")], "selection.csv", { type: "text/csv" });
  let now = await data(createUpload({ body: { file, reason, dry_run: isDry }, throwOnError: true }));
  while (now.status === "pending" || now.status === "running") {
    signal.throwIfAborted();
    onProgress(now.rows_processed, people.length);
    await pause();
    now = await data(getUpload({ path: { upload_id: now.id }, throwOnError: true }));
  }
  if (now.status !== "completed") throw new Error(now.error ?? now.status);
  return now;
}

/** Try a do-not-contact upload of the numbers. An upload also withdraws waiting messages. */
async function tryDoNotContact(reason: string, people: Person[], steps: Steps): Promise<Tried> {
  const tried = await upload(people, reason, true, steps);
  const fresh = people.filter((one) => !one.flags.includes("do_not_contact"));
  return {
    figures: [
      figure("newly_suppressed", t("Numbers that get no more messages"), tried.newly_suppressed),
      figure("already_suppressed", t("Were stopped before"), tried.already_suppressed),
      figure("texts_withdrawn", t("Waiting messages that are taken back"), tried.texts_withdrawn),
    ],
    changes: tried.newly_suppressed,
    run: async (again) => {
      const made = await upload(people, reason, false, again);
      const undo = (once: Steps) => removeFlags(fresh, "do_not_contact", once);
      return { text: changedText(made.newly_suppressed, 0), ...(fresh.length <= MOST_SINGLE ? { undo } : {}) };
    },
  };
}

async function removeFlags(people: Person[], flag: string, steps: Steps): Promise<string> {
  await each(people, 1, steps, async ([one]) => void (await removeFlag({ path: { contact_id: one!.id, flag }, throwOnError: true })));
  return undone(people.length);
}

async function tryFlag({ flag, reason }: { flag: string; reason: string }, people: Person[]): Promise<Tried> {
  const fresh = people.filter((one) => !one.flags.includes(flag));
  if (fresh.length > MOST_SINGLE) throw new Error(t("This flag is set person by person, at most 1,000 at a time. Narrow the filter."));
  return {
    figures: [figure("matched", t("People"), people.length), figure("unchanged", t("Stay as they are"), people.length - fresh.length)],
    changes: fresh.length,
    run: async (steps) => {
      await each(fresh, 1, steps, async ([one]) => void (await addFlag({ path: { contact_id: one!.id }, body: { flag, ...(reason ? { reason } : {}) }, throwOnError: true })));
      return { text: changedText(fresh.length, 0), undo: (again) => removeFlags(fresh, flag, again) };
    },
  };
}

const figure = (name: string, label: string, value: number): Figure => ({ name, label, value });
const undone = (n: number): string => t("{n, plural, one {# contact} other {# contacts}} put back.", { n });

function changedText(n: number, refused: number): string {
  const done = t("{n, plural, one {# contact} other {# contacts}} changed.", { n });
  return refused ? `${done} ${t("{n} have 50 tags already and stay as they are.", { n: refused })}` : done;
}
