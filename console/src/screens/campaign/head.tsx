/** The actions for a campaign: pause, resume, cancel, rename, copy, archive, print, delete. */
import { useNavigate } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data, tagOf } from "../../api/client";
import {
  cancelCampaign, cloneCampaign, deleteCampaign, pauseCampaign, readStats, resumeCampaign, updateCampaign, type CampaignRead,
} from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Icon } from "../../ui/icons";
import { Button, Field } from "../../ui/parts";
import { Popover } from "../../ui/popover";
import { fail, say } from "../../ui/toasts";

export const ENDED = new Set(["completed", "cancelled"]);

/** Return a function that shows a changed campaign at once, and reads the dependent data again. */
export function useChanged() {
  const cache = useQueryClient();
  return (changed: CampaignRead) => {
    // A draft is started only with its ETag. If the response has none, the draft is read again.
    if (changed.status !== "draft" || tagOf(changed)) cache.setQueryData(["campaign", changed.id], changed);
    void cache.invalidateQueries({ queryKey: ["campaign", changed.id] });
    void cache.invalidateQueries({ queryKey: ["campaigns"] });
  };
}

export function Actions({ campaign }: { campaign: CampaignRead }) {
  const changed = useChanged();
  const [asks, setAsks] = useState(false);
  const act = useMutation({
    mutationFn: (action: "pause" | "resume" | "cancel") => {
      const options = { path: { campaign_id: campaign.id }, throwOnError: true } as const;
      return data({ pause: pauseCampaign, resume: resumeCampaign, cancel: cancelCampaign }[action](options) as Promise<{ data: CampaignRead }>);
    },
    onSuccess: (one, action) => {
      changed(one);
      say({
        pause: t("Paused. Messages that were already handed over may still arrive."),
        resume: t("Resumed."),
        cancel: t("Cancelled. Nothing more is sent."),
      }[action]);
    },
    onError: fail,
    onSettled: () => setAsks(false),
  });
  const { status } = campaign;
  return (
    <>
      {may("campaigns:send") && (
        <>
          {(status === "running" || status === "scheduled") && (
            <Button icon="pause" busy={act.isPending} onClick={() => act.mutate("pause")}>{t("Pause")}</Button>
          )}
          {(status === "paused" || status === "blocked") && (
            <Button kind="main" icon="play" busy={act.isPending} onClick={() => act.mutate("resume")}>{t("Resume")}</Button>
          )}
          {!ENDED.has(status) && status !== "draft" && (
            <Button kind="danger" onClick={() => setAsks(true)}>{t("Cancel campaign")}</Button>
          )}
        </>
      )}
      <More campaign={campaign} />
      {asks && (
        <Dialog
          title={t("Cancel this campaign?")}
          onClose={() => setAsks(false)}
          footer={
            <>
              <Button onClick={() => setAsks(false)}>{t("Go back")}</Button>
              <Button kind="danger" busy={act.isPending} onClick={() => act.mutate("cancel")}>{t("Cancel campaign")}</Button>
            </>
          }
        >
          <p>{t("Nobody who still waits gets the message. This cannot be undone.")}</p>
        </Dialog>
      )}
    </>
  );
}

function More({ campaign }: { campaign: CampaignRead }) {
  const navigate = useNavigate();
  const changed = useChanged();
  const cache = useQueryClient();
  const [asks, setAsks] = useState<"rename" | "delete" | "archive" | null>(null);
  const path = { campaign_id: campaign.id };
  const archive = useMutation({
    mutationFn: (archived: boolean) => data(updateCampaign({ path, body: { archived }, throwOnError: true })),
    onSuccess: (one) => {
      changed(one);
      say(one.archived ? t("Archived. The list shows it under Archived.") : t("Back in the list."), { undo: () => archive.mutate(!one.archived) });
    },
    onError: fail,
  });
  const copy = useMutation({
    mutationFn: () => data(cloneCampaign({ path, body: { name: t("{name} (copy)", { name: campaign.name }).slice(0, 200) }, throwOnError: true })),
    onSuccess: (made) => {
      changed(made);
      say(t("This is the copy, a draft."));
      void navigate({ to: "/campaigns/$id", params: { id: made.id }, search: {} });
    },
    onError: fail,
  });
  const remove = useMutation({
    mutationFn: () => deleteCampaign({ path, throwOnError: true }),
    onSuccess: async () => {
      await navigate({ to: "/campaigns", search: {} });
      cache.removeQueries({ queryKey: ["campaign", campaign.id] });
      void cache.invalidateQueries({ queryKey: ["campaigns"] });
      say(t("The draft is deleted."));
    },
    onError: fail,
  });
  const mayWrite = may("campaigns:write");
  const mayStillSend = !campaign.archived && campaign.status !== "draft" && !ENDED.has(campaign.status);
  return (
    <>
      <Popover className="button button-plain" align="end" label={t("More for this campaign")} button={<Icon name="more" />}>
        {(close) => (
          <div className="menu">
            {mayWrite && <button type="button" onClick={() => (close(), setAsks("rename"))}>{t("Rename")}</button>}
            {mayWrite && <button type="button" onClick={() => (close(), copy.mutate())}>{t("Copy as a draft")}</button>}
            {mayWrite && <button type="button" onClick={() => (close(), mayStillSend ? setAsks("archive") : archive.mutate(!campaign.archived))}>{campaign.archived ? t("Take out of the archive") : t("Archive")}</button>}
            {campaign.status !== "draft" && <button type="button" onClick={() => (close(), window.print())}>{t("Print the report")}</button>}
            {mayWrite && campaign.status === "draft" && <button type="button" onClick={() => (close(), setAsks("delete"))}>{t("Delete the draft")}</button>}
          </div>
        )}
      </Popover>
      {asks === "archive" && <Archive campaign={campaign} onClose={() => setAsks(null)} onArchive={() => (setAsks(null), archive.mutate(true))} />}
      {asks === "rename" && <Rename campaign={campaign} onClose={() => setAsks(null)} />}
      {asks === "delete" && (
        <Dialog
          title={t("Delete this draft?")}
          onClose={() => setAsks(null)}
          footer={<><Button onClick={() => setAsks(null)}>{t("Go back")}</Button><Button kind="danger" busy={remove.isPending} onClick={() => remove.mutate()}>{t("Delete the draft")}</Button></>}
        >
          <p>{t("Nobody has got anything from it. It cannot be brought back.")}</p>
        </Dialog>
      )}
    </>
  );
}

/** Ask before a campaign that has not ended is archived, because people still wait for it. */
function Archive({ campaign, onClose, onArchive }: { campaign: CampaignRead; onClose: () => void; onArchive: () => void }) {
  const stats = useQuery({ queryKey: ["campaign", campaign.id, "stats"], queryFn: () => data(readStats({ path: { campaign_id: campaign.id }, throwOnError: true })) });
  const { pending = 0, held = 0, review = 0 } = stats.data?.by_status ?? {};
  const isHalted = campaign.status === "paused" || campaign.status === "blocked";
  return (
    <Dialog
      title={t("Archive this campaign?")}
      onClose={onClose}
      footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="danger" disabled={stats.isPending} onClick={onArchive}>{t("Archive")}</Button></>}
    >
      <p>
        {stats.data && t("{n, plural, =0 {Nobody waits for its message.} one {# person still waits for its message.} other {# people still wait for its message.}}", { n: pending + held + review })}{" "}
        {isHalted ? t("It sends nothing while it is stopped, and the list no longer shows it.") : t("The campaign still sends its messages, but the list no longer shows it.")}
      </p>
    </Dialog>
  );
}

function Rename({ campaign, onClose }: { campaign: CampaignRead; onClose: () => void }) {
  const changed = useChanged();
  const save = useMutation({
    mutationFn: (name: string) => data(updateCampaign({ path: { campaign_id: campaign.id }, body: { name }, throwOnError: true })),
    onSuccess: (one) => (changed(one), say(t("Renamed.")), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save.mutate(String(new FormData(event.currentTarget).get("name")));
  };
  return (
    <Dialog title={t("Rename")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="main" type="submit" form="rename-form" busy={save.isPending}>{t("Save")}</Button></>}>
      <form id="rename-form" className="form" onSubmit={submit}>
        {save.error && !fieldError(save.error, "/name") && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Name of the campaign")} error={fieldError(save.error, "/name")}>
          {(attributes) => <input {...attributes} name="name" defaultValue={campaign.name} maxLength={200} autoFocus />}
        </Field>
      </form>
    </Dialog>
  );
}
