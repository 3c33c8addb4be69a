/**
 * The screen of one segment: its rules, how many people match now, some of these people, and a
 * dialog that explains why a person is in the segment.
 */
import { Link, useNavigate } from "@tanstack/react-router";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { data } from "../api/client";
import { createSegment, deleteSegment, getSegment, previewSegment, updateSegment, type SegmentDetail, type SegmentUpdate } from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { count, personName, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icons";
import { useLate } from "../ui/late";
import { Button, Failed, Field, Loading, PageHead } from "../ui/parts";
import { say } from "../ui/toasts";
import { GroupEditor } from "./segment-builder";
import { WhyDialog } from "./segment-why";
import { filterOf, isWhole, newGroup, treeOf, type Filter, type GroupNode } from "./segment-tree";
import type { Known } from "./segments";

const BACK = (
  <Link to="/segments" search={{}} className="back" aria-label="Segments">
    <Icon name="left" />
  </Link>
);

export function SegmentEditor({ id, known }: { id: string | null; known: Known }) {
  const found = useQuery({
    queryKey: ["segment", id],
    enabled: id !== null,
    queryFn: () => data(getSegment({ path: { segment_id: id! }, throwOnError: true })),
  });
  if (id === null) return <Editor saved={null} known={known} />;
  if (found.data) return <Editor key={found.data.updated_at} saved={found.data} known={known} />;
  return (
    <>
      <PageHead title={t("Segment")} before={BACK} />
      {found.isLoadingError ? <Failed error={found.error} again={() => void found.refetch()} /> : <Loading />}
    </>
  );
}

type Draft = { name: string; filter: Filter };

/** Store unsaved rules in this browser, so that they survive a reload and a sign-out. */
function useDraft(saved: SegmentDetail | null): { name: string; tree: GroupNode; isChanged: boolean; set: (change: { name?: string; tree?: GroupNode }) => void; forget: () => void } {
  const place = `crm-segment-${saved?.id ?? "new"}`;
  const asSaved = () => ({ name: saved?.name ?? "", tree: saved ? treeOf(saved.filter) : newGroup() });
  const [draft, setDraft] = useState(() => {
    try {
      const kept = JSON.parse(localStorage.getItem(place) ?? "null") as (Draft & { at: string | null }) | null;
      if (kept && kept.at === (saved?.updated_at ?? null)) return { name: kept.name, tree: treeOf(kept.filter), isChanged: true };
    } catch {
      // A stored draft that cannot be parsed is ignored.
    }
    return { ...asSaved(), isChanged: false };
  });
  useEffect(() => {
    if (draft.isChanged) localStorage.setItem(place, JSON.stringify({ name: draft.name, filter: filterOf(draft.tree), at: saved?.updated_at ?? null }));
    else localStorage.removeItem(place);
  }, [draft, place, saved]);
  return {
    ...draft,
    set: (change) => setDraft((was) => ({ ...was, ...change, isChanged: true })),
    forget: () => setDraft({ ...asSaved(), isChanged: false }),
  };
}

function Editor({ saved, known }: { saved: SegmentDetail | null; known: Known }) {
  const navigate = useNavigate({ from: "/segments" });
  const cache = useQueryClient();
  const draft = useDraft(saved);
  const { name, tree, isChanged } = draft;
  const [dialog, setDialog] = useState<"delete" | "why" | null>(null);
  const [person, setPerson] = useState<string | null>(null);
  const isReady = isWhole(tree, known.fields);
  const filter = useMemo(() => (isReady ? filterOf(tree) : null), [isReady, tree]);
  const asked = useLate(filter, 400);
  const preview = useQuery({
    queryKey: ["segment-preview", asked],
    enabled: asked !== null,
    placeholderData: keepPreviousData,
    retry: false,
    queryFn: ({ signal }) => data(previewSegment({ body: { filter: asked!, limit: 10 }, signal, throwOnError: true })),
  });
  const save = useMutation({
    mutationFn: () => {
      const body = { name: name.trim(), filter: filter! };
      if (!saved) return data(createSegment({ body, throwOnError: true }));
      return data(updateSegment({ path: { segment_id: saved.id }, body: body as SegmentUpdate, throwOnError: true }));
    },
    onSuccess: async (made) => {
      draft.forget();
      say(t("The segment is saved."));
      await cache.invalidateQueries({ queryKey: ["segments"] });
      await cache.invalidateQueries({ queryKey: ["segment", made.id] });
      if (!saved) void navigate({ search: { id: made.id }, replace: true });
    },
  });
  const canWrite = may("contacts:write");
  const error = save.error ?? (filter ? preview.error : null);
  const used = saved ? known.usedBy(saved.id) : [];
  return (
    <>
      <PageHead
        title={saved ? saved.name : t("New segment")}
        before={BACK}
        actions={
          <>
            {saved && <Link to="/contacts" search={{ segment: saved.id }} className="button">{t("Show the contacts")}</Link>}
            {saved && <Button onClick={() => setDialog("why")}>{t("Is a person in it?")}</Button>}
            {saved && canWrite && <Button kind="danger" onClick={() => setDialog("delete")}>{t("Delete")}</Button>}
            {canWrite && <Button kind="main" busy={save.isPending} disabled={!isReady || !name.trim() || (saved !== null && !isChanged)} onClick={() => save.mutate()}>{t("Save")}</Button>}
          </>
        }
      />
      <div className="segment">
        <section className="segment-rules-side" aria-label={t("Rules")}>
          {isChanged && (
            <p className="notice">
              {t("Changes that are not saved stay in this browser.")}{" "}
              <button type="button" className="link" onClick={draft.forget}>{t("Undo the changes")}</button>
            </p>
          )}
          {saved?.missing.length ? <p className="notice notice-warn" role="status">{t("The rules name lists or campaigns that were deleted. Choose others, or remove these rules: a campaign cannot start with them.")}</p> : null}
          {error && !(error instanceof ApiProblem && Object.keys(error.fields).length) && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
          <fieldset disabled={!canWrite} className="form segment-form">
            <Field label={t("Name of the segment")} error={fieldError(error, "/name")}>
              {(attributes) => <input {...attributes} value={name} maxLength={200} autoFocus={!saved} onChange={(event) => draft.set({ name: event.target.value })} />}
            </Field>
            <GroupEditor group={tree} choices={known} error={error} onChange={(next) => draft.set({ tree: next })} />
          </fieldset>
          {used.length > 0 && (
            <p className="faint">
              {t("Used by:")}{" "}
              {used.map((one) => <Link key={one.id} to="/campaigns/$id" params={{ id: one.id }} search={{}} className="link segment-use">{one.name}</Link>)}
            </p>
          )}
        </section>
        <section className="segment-people" aria-labelledby="sample-title" aria-busy={preview.isFetching}>
          <h2 id="sample-title">{t("Who matches now")}</h2>
          {!filter ? (
            <p className="faint">{t("Complete each rule to see the people.")}</p>
          ) : preview.isLoadingError ? (
            <p className="field-error">{t("The rules have a fault: correct what is marked.")}</p>
          ) : preview.data ? (
            <Sample preview={preview.data} why={saved && !isChanged ? (contact) => (setPerson(contact), setDialog("why")) : null} />
          ) : (
            <Loading lines={4} />
          )}
        </section>
      </div>
      {dialog === "delete" && saved && <DeleteDialog saved={saved} known={known} onClose={() => setDialog(null)} />}
      {dialog === "why" && saved && <WhyDialog segment={saved} known={known} person={person} onClose={() => (setDialog(null), setPerson(null))} />}
    </>
  );
}

type SampleProps = { preview: Awaited<ReturnType<typeof previewSegment>>["data"]; why: ((contact: string) => void) | null };

function Sample({ preview, why }: SampleProps) {
  if (!preview) return null;
  const total = preview.count ?? 0;
  return (
    <>
      <p role="status" className="segment-count">
        <b className="number" data-part="segment-count" data-value={total}>{count(total)}</b> {t("{n, plural, one {contact} other {contacts}}", { n: total })}
      </p>
      <ul className="segment-sample">
        {preview.sample.map((one) => (
          <li key={one.id}>
            <Link to="/contacts/$id" params={{ id: one.id }}>{personName(one)}</Link>
            <span className="faint number">{phone(one.phone)}</span>
            {why && <button type="button" className="link" aria-label={t("Why {name} is in it", { name: personName(one) })} onClick={() => why(one.id)}>{t("Why")}</button>}
          </li>
        ))}
      </ul>
      {total > preview.sample.length && <p className="faint">{t("Some of them, in no order.")}</p>}
      {total === 0 && <p className="faint">{t("Nobody matches. Make a rule wider, or remove one.")}</p>}
      {!why && total > 0 && <p className="faint">{t("Save the rules to ask why a person is in.")}</p>}
    </>
  );
}

function DeleteDialog({ saved, known, onClose }: { saved: SegmentDetail; known: Known; onClose: () => void }) {
  const navigate = useNavigate({ from: "/segments" });
  const cache = useQueryClient();
  const remove = useMutation({
    mutationFn: () => deleteSegment({ path: { segment_id: saved.id }, throwOnError: true }),
    onSuccess: () => {
      say(t("The segment was deleted. Its contacts stay."));
      void cache.invalidateQueries({ queryKey: ["segments"] });
      void navigate({ search: {}, replace: true });
    },
  });
  const users = remove.error instanceof ApiProblem ? ((remove.error.extras.campaign_ids as string[] | undefined) ?? []) : [];
  return (
    <Dialog
      title={t("Delete {name}?", { name: saved.name })}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Keep it")}</Button>
          <Button kind="danger" busy={remove.isPending} onClick={() => remove.mutate()}>{t("Delete")}</Button>
        </>
      }
    >
      {remove.error && <p className="notice notice-bad" role="alert">{sentenceOf(remove.error)}</p>}
      {users.map((campaign) => (
        <p key={campaign}>
          <Link to="/campaigns/$id" params={{ id: campaign }} search={{}} className="link">{known.campaigns.find((one) => one.id === campaign)?.name ?? t("Open the campaign")}</Link>
        </p>
      ))}
      <p>{t("Only the rules are deleted. The contacts stay as they are.")}</p>
    </Dialog>
  );
}
