/** The dialog that sends the message to one of the company's own numbers, as a test. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { getSettings, listLines, sendTest, type CampaignRead } from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { byName } from "../../ui/by-name";
import { Dialog } from "../../ui/dialog";
import { Button, Field } from "../../ui/parts";
import { say } from "../../ui/toasts";

export function TestSend({ campaign }: { campaign: CampaignRead }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button onClick={() => setOpen(true)}>{t("Send a test message")}</Button>
      {isOpen && <TestDialog campaign={campaign} onClose={() => setOpen(false)} />}
    </>
  );
}

function TestDialog({ campaign, onClose }: { campaign: CampaignRead; onClose: () => void }) {
  const settings = useQuery({ queryKey: ["settings"], enabled: may("admin"), queryFn: () => data(getSettings({ throwOnError: true })) });
  const lines = useQuery({ queryKey: ["lines"], queryFn: () => data(listLines({ query: { limit: 100 }, throwOnError: true })) });
  const own = settings.data?.test_numbers ?? [];
  const send = useMutation({
    mutationFn: (body: { to: string; variant?: string }) => data(sendTest({ path: { campaign_id: campaign.id }, body, throwOnError: true })),
    onSuccess: (_, body) => (say(t("The test message to {phone} is on its way.", { phone: phone(body.to) })), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const variant = String(form.get("variant") ?? "");
    send.mutate({ to: String(form.get("to")), ...(variant ? { variant } : {}) });
  };
  return (
    <Dialog
      title={t("Send a test message")}
      onClose={onClose}
      footer={<><Button onClick={onClose}>{t("Go back")}</Button><Button kind="main" type="submit" form="test-form" busy={send.isPending}>{t("Send")}</Button></>}
    >
      <form id="test-form" className="form" onSubmit={submit}>
        {send.error && !fieldError(send.error, "/to") && <p className="notice notice-bad" role="alert">{sentenceOf(send.error)}</p>}
        <Field label={t("To")} error={fieldError(send.error, "/to")} hint={t("One of your lines, or one of your own numbers in the settings.")}>
          {(attributes) => <input {...attributes} key={own[0]} name="to" inputMode="tel" defaultValue={own[0] ?? ""} list="own-numbers" required autoFocus />}
        </Field>
        <datalist id="own-numbers">
          {own.map((one) => <option key={one} value={one} />)}
          {byName(lines.data?.data).map((one) => <option key={one.id} value={one.number} label={one.name || phone(one.number)} />)}
        </datalist>
        {campaign.variants.length > 1 && (
          <Field label={t("Variant")}>
            {(attributes) => <select {...attributes} name="variant">{campaign.variants.map((one) => <option key={one.name}>{one.name}</option>)}</select>}
          </Field>
        )}
      </form>
    </Dialog>
  );
}
