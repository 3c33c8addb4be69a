/** The screen of one import: progress, check, figures, and buttons that stop or undo the import. */
import { Link, useParams, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import { cancelImport, getImport, undoImport, type ImportDetail } from "../api/generated";
import { count } from "../format";
import { t } from "../i18n";
import { useLive } from "../live";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Failed, Loading, Meter, PageHead } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { undoCount } from "../ui/code-names";
import { IMPORT_TONE, importStatus } from "../ui/words";
import { UploadPage } from "./do-not-contact";
import { Check } from "./import-columns";
import { BackToImports, Errors, Repeats, Steps, Tally } from "./import-parts";
import "./imports.css";

/** Time between two reads of an import. Without live events, it is read more often. */
const AGAIN_MS = { live: 10_000, else: 1_000 };

export function ImportPage() {
  const { id } = useParams({ from: "/shell/imports/$id" });
  const { kind } = useSearch({ from: "/shell/imports/$id" });
  return kind === "do_not_contact" ? <UploadPage id={id} /> : <OneImport id={id} />;
}

function OneImport({ id }: { id: string }) {
  const live = useLive();
  const found = useQuery({
    queryKey: ["import", id],
    queryFn: () => data(getImport({ path: { import_id: id }, throwOnError: true })),
    refetchInterval: ({ state }) => (isWorking(state.data) ? AGAIN_MS[live === "live" && state.data?.status === "running" ? "live" : "else"] : false),
  });
  const one = found.data;
  const name = one ? (one.file_name ?? t("From the provider")) : t("Import");
  return (
    <>
      <PageHead title={name} before={<BackToImports />}>
        {one && !isChecked(one) && <Badge tone={IMPORT_TONE[one.status]}>{importStatus(one.status)}</Badge>}
        {one?.kind === "outcomes" && <Badge tone="info">{t("Outcomes")}</Badge>}
        {one?.dry_run && <Badge>{t("Check only")}</Badge>}
        {one?.undone_at && <Badge tone="warn">{t("Undone")}</Badge>}
      </PageHead>
      {found.isLoadingError ? (
        <Failed error={found.error} again={() => void found.refetch()} />
      ) : !one ? (
        <Loading />
      ) : (
        <div className="wizard">
          <Steps at={one.dry_run ? 1 : 2} />
          {one.error && <p className="notice notice-bad" role="alert">{one.error}</p>}
          {isWorking(one) && <Working one={one} />}
          {(one.status === "completed" || one.status === "cancelled") && <><Tally one={one} /><Repeats one={one} /></>}
          {one.status === "completed" && (one.dry_run ? <Check one={one} /> : <Done one={one} />)}
          {one.status === "failed" && <Link to="/imports/new" search={{}} className="button">{t("Choose another file")}</Link>}
        </div>
      )}
    </>
  );
}

/**
 * Return whether a dry run is complete. It must not have the label "Completed", because the file is
 * not imported yet.
 */
const isChecked = (one: ImportDetail): boolean => one.dry_run && one.status === "completed";

function isWorking(one: ImportDetail | undefined): boolean {
  if (!one) return false;
  const undoes = one.undo && one.undo.status !== "completed";
  return one.status === "pending" || one.status === "running" || !!undoes;
}

function Working({ one }: { one: ImportDetail }) {
  const cache = useQueryClient();
  const stop = useMutation({
    mutationFn: () => data(cancelImport({ path: { import_id: one.id }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["import", one.id] }),
    onError: fail,
  });
  const total = one.rows_total ?? 0;
  return (
    <section aria-label={t("Progress")} className="form">
      <p role="status">
        {one.undo ? t("The import is being undone.") : one.dry_run ? t("The file is being checked.") : one.kind === "outcomes" ? t("The outcomes are being written.") : t("The contacts are being written.")}{" "}
        <span className="faint number">{t("{n} of {all} rows", { n: count(one.rows_processed), all: total ? count(total) : "…" })}</span>
      </p>
      <Meter value={one.rows_processed} of={total} label={t("Rows")} />
      {may("contacts:write") && !one.undo && (
        <p><Button busy={stop.isPending} onClick={() => stop.mutate()}>{t("Stop")}</Button></p>
      )}
    </section>
  );
}

function Done({ one }: { one: ImportDetail }) {
  const cache = useQueryClient();
  const [asked, setAsked] = useState<{ token: string; counts: Record<string, unknown> } | null>(null);
  const path = { import_id: one.id };
  const ask = useMutation({
    mutationFn: () => data(undoImport({ path, body: { dry_run: true }, throwOnError: true })),
    onSuccess: (found) => setAsked({ token: found.token ?? "", counts: (found.counts ?? {}) as Record<string, unknown> }),
    onError: fail,
  });
  const undo = useMutation({
    mutationFn: () => data(undoImport({ path, body: { token: asked!.token }, throwOnError: true })),
    onSuccess: () => (say(t("The import is being undone.")), void cache.invalidateQueries({ queryKey: ["import", one.id] })),
    onError: fail,
    onSettled: () => setAsked(null),
  });
  return (
    <>
      {one.undo?.status === "completed" && (
        <p className="notice notice-warn">
          {one.kind === "outcomes"
            ? t("Undone: {removed} outcomes were reversed. {kept} were reversed before.", { removed: count(one.undo.removed), kept: count(one.undo.left_edited) })
            : t("Undone: {removed} contacts removed, {restored} put back. {kept} were kept because they were edited or used since.", {
            removed: count(one.undo.removed), restored: count(one.undo.restored), kept: count(one.undo.left_edited + one.undo.left_in_use),
          })}
        </p>
      )}
      <Errors one={one} />
      <p className="page-actions">
        {one.kind === "outcomes"
          ? <Link to="/insight" search={{}} className="button button-main">{t("Show the figures")}</Link>
          : <Link to="/contacts" search={one.list_id ? { list: one.list_id } : {}} className="button button-main">{t("Show the contacts")}</Link>}
        {one.list_id && one.kind !== "outcomes" && !one.undone_at && may("campaigns:write") && <Link to="/campaigns/new" search={{ list: one.list_id }} className="button">{t("Write to them")}</Link>}
        {may("contacts:write") && !one.undo && <Button busy={ask.isPending} onClick={() => ask.mutate()}>{t("Undo the import")}</Button>}
      </p>
      {asked && (
        <Dialog
          title={t("Undo this import?")}
          onClose={() => setAsked(null)}
          footer={
            <>
              <Button onClick={() => setAsked(null)}>{t("Go back")}</Button>
              <Button kind="danger" busy={undo.isPending} onClick={() => undo.mutate()}>{t("Undo the import")}</Button>
            </>
          }
        >
          <p>{one.kind === "outcomes" ? t("Each outcome gets a row that reverses it. The ledger keeps both.") : t("Contacts that it added are removed, and changed ones get their old values back. People who were edited or texted since stay.")}</p>
          <dl className="tally">
            {Object.entries(asked.counts).map(([name, value]) => (
              <div key={name}>
                <dt>{undoCount(name)}</dt>
                <dd>{count(Number(value))}</dd>
              </div>
            ))}
          </dl>
        </Dialog>
      )}
    </>
  );
}
