/** The dialog that changes a contact. An error of the API is shown beside its field. */
import { useMutation } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { data } from "../api/client";
import { updateContact, type ContactRead, type ContactUpdate } from "../api/generated";
import { sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button } from "../ui/parts";
import { say } from "../ui/toasts";
import { ContactFields, entered, isAtField } from "./contact-fields";
import { useRefresh } from "./contact-refresh";

export function EditDialog({ contact, onClose }: { contact: ContactRead; onClose: () => void }) {
  const refresh = useRefresh(contact.id);
  const save = useMutation({
    mutationFn: (body: ContactUpdate) => data(updateContact({ path: { contact_id: contact.id }, body, throwOnError: true })),
    onSuccess: () => (say(t("Saved.")), refresh(), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save.mutate(entered(new FormData(event.currentTarget)));
  };
  const { error } = save;
  return (
    <Dialog
      title={t("Edit the contact")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" type="submit" form="edit-contact" busy={save.isPending}>{t("Save")}</Button>
        </>
      }
    >
      <form id="edit-contact" className="form" onSubmit={submit}>
        {error && !isAtField(error) && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
        <ContactFields contact={contact} error={error} />
      </form>
    </Dialog>
  );
}
