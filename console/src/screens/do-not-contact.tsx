/** Upload of a do-not-contact list. A check counts its numbers; the upload blocks them. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import { cancelUpload, createUpload, getUpload, getUploadErrors, type UploadRead } from "../api/generated";
import { fieldError, sentenceOf } from "../api/problem";
import { count } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Badge, Button, Failed, Field, Loading, PageHead } from "../ui/parts";
import { fail } from "../ui/toasts";
import { IMPORT_TONE, importStatus } from "../ui/words";
import { BackToImports, Figures, RefusedRows, type Figure } from "./import-parts";

const AGAIN_MS = 1_000;

const isWorking = (one: UploadRead | undefined) => one?.status === "pending" || one?.status === "running";

function useUpload(id: string | null) {
  return useQuery({
    queryKey: ["upload", id],
    enabled: id !== null,
    queryFn: () => data(getUpload({ path: { upload_id: id! }, throwOnError: true })),
    refetchInterval: ({ state }) => (isWorking(state.data) ? AGAIN_MS : false),
  });
}

/**
 * The form that uploads a list. The page keeps the file between the check and the upload, because
 * the API does not store the file of a check.
 */
export function NewUpload({ file }: { file: File | null }) {
  const navigate = useNavigate();
  const [checked, setChecked] = useState<{ id: string; file: File; reason: string; column: string } | null>(null);
  const found = useUpload(checked?.id ?? null);
  const send = useMutation({
    mutationFn: ({ body, isDry }: { body: { file: File; reason: string; column: string }; isDry: boolean }) =>
      data(createUpload({ body: { file: body.file, dry_run: isDry, ...(body.reason ? { reason: body.reason } : {}), ...(body.column ? { column: body.column } : {}) }, throwOnError: true })),
    onSuccess: (made, { body, isDry }) => {
      if (isDry) setChecked({ id: made.id, ...body });
      else void navigate({ to: "/imports/$id", params: { id: made.id }, search: { kind: "do_not_contact" } });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    if (file) send.mutate({ body: { file, reason: text("reason"), column: text("column") }, isDry: true });
  };
  const one = found.data;
  const isCurrent = checked !== null && checked.file === file;
  return (
    <form className="form" onSubmit={submit}>
      {send.error && <p className="notice notice-bad" role="alert">{fieldError(send.error, "/file") ?? fieldError(send.error, "/column") ?? sentenceOf(send.error)}</p>}
      <Field label={t("Reason")} hint={t("It is kept with each number.")}>{(attributes) => <input {...attributes} name="reason" maxLength={200} placeholder={t("Do-not-contact list")} />}</Field>
      <Field label={t("Column with the numbers")} hint={t("Only if the file has more columns, and the numbers are not found.")}>{(attributes) => <input {...attributes} name="column" />}</Field>
      {isCurrent && (found.isLoadingError ? <Failed error={found.error} again={() => void found.refetch()} /> : one && <UploadReport one={one} />)}
      <div className="wizard-end">
        <p>{file ? t("Nothing is written yet: the next step shows what would change.") : t("Choose a file first.")}</p>
        <Button type="submit" kind={isCurrent && one?.status === "completed" ? "plain" : "main"} busy={send.isPending || (isCurrent && isWorking(one))} disabled={!file}>{t("Check the file")}</Button>
        {isCurrent && one?.status === "completed" && (
          <Button kind="main" busy={send.isPending} disabled={!one.numbers_read} onClick={() => send.mutate({ body: checked, isDry: false })}>{t("Stop these numbers")}</Button>
        )}
      </div>
    </form>
  );
}

function UploadReport({ one }: { one: UploadRead }) {
  const figures: Figure[] = [
    ["numbers_read", t("Numbers"), one.numbers_read],
    ["newly_suppressed", one.dry_run ? t("Would be stopped") : t("Stopped"), one.newly_suppressed],
    ["already_suppressed", t("Were stopped before"), one.already_suppressed],
    ["contacts_matched", t("Are contacts"), one.contacts_matched],
    ["texts_withdrawn", t("Waiting messages that are taken back"), one.texts_withdrawn],
    ["texts_sent_lately", t("Messages in the last 30 days"), one.texts_sent_lately],
    ["invalid", t("Rows not usable"), one.invalid],
  ];
  const read = async () => String(await data(getUploadErrors({ path: { upload_id: one.id }, parseAs: "text", headers: { Accept: "text/csv" } as never, throwOnError: true }) as never));
  return (
    <>
      {one.error && <p className="notice notice-bad" role="alert">{one.error}</p>}
      {isWorking(one) ? <p role="status">{t("{n} rows read", { n: count(one.rows_processed) })}</p> : <Figures figures={figures} />}
      {one.status === "completed" && one.invalid > 0 && <RefusedRows name={one.file_name ?? "numbers"} query={["upload", one.id, "errors"]} csv={read} />}
    </>
  );
}

export function UploadPage({ id }: { id: string }) {
  const cache = useQueryClient();
  const found = useUpload(id);
  const stop = useMutation({
    mutationFn: () => data(cancelUpload({ path: { upload_id: id }, throwOnError: true })),
    onSuccess: () => void cache.invalidateQueries({ queryKey: ["upload", id] }),
    onError: fail,
  });
  const one = found.data;
  return (
    <>
      <PageHead title={one ? (one.file_name ?? t("Do-not-contact list")) : t("Import")} before={<BackToImports />}>
        {one && <Badge tone={IMPORT_TONE[one.status]}>{importStatus(one.status)}</Badge>}
        <Badge tone="warn">{t("Do not contact")}</Badge>
        {one?.dry_run && <Badge>{t("Check only")}</Badge>}
      </PageHead>
      {found.isLoadingError ? (
        <Failed error={found.error} again={() => void found.refetch()} />
      ) : !one ? (
        <Loading />
      ) : (
        <div className="wizard">
          <UploadReport one={one} />
          <p className="faint">{t("To let a number get messages again, remove its flag on the contact.")}</p>
          {isWorking(one) && may("contacts:write") && <p><Button busy={stop.isPending} onClick={() => stop.mutate()}>{t("Stop")}</Button></p>}
          {one.status === "completed" && !one.dry_run && (
            <p><Link to="/contacts" search={{ flag: "do_not_contact" }} className="button button-main">{t("Show the contacts")}</Link></p>
          )}
        </div>
      )}
    </>
  );
}
