/** The dialog that changes a contact. An error of the API is shown beside its field. */
import type { FormEvent } from "react";
import { Meanwhile, Opened, useSaveChanges, versionOf } from "../api/changes";
import { data } from "../api/client";
import { getContact, updateContact, type ContactRead } from "../api/generated";
import { sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button } from "../ui/parts";
import { fail, say } from "../ui/toasts";
import { ContactFields, entered, enteredOf, isAtField } from "./contact-fields";
import { useRefresh } from "./contact-refresh";

export function EditDialog({ contact, onClose }: { contact: ContactRead; onClose: () => void }) {
  return <Opened now={contact}>{(opened, renew) => <EditForm contact={opened} onLoad={renew} onClose={onClose} />}</Opened>;
}

function EditForm({ contact, onLoad, onClose }: { contact: ContactRead; onLoad: (now: ContactRead) => void; onClose: () => void }) {
  const refresh = useRefresh(contact.id);
  const path = { contact_id: contact.id };
  const read = () => data(getContact({ path, throwOnError: true }));
  const { save, isPending, isConflict, error } = useSaveChanges({
    base: versionOf(contact, enteredOf),
    read: async () => versionOf(await read(), enteredOf),
    write: (body, headers) => data(updateContact({ path, body, headers, throwOnError: true })),
    onSaved: () => (say(t("Saved.")), refresh(), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save(entered(new FormData(event.currentTarget)));
  };
  return (
    <Dialog
      title={t("Edit the contact")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" type="submit" form="edit-contact" busy={isPending}>{t("Save")}</Button>
        </>
      }
    >
      <form id="edit-contact" className="form" onSubmit={submit}>
        {isConflict && <Meanwhile onLoad={() => void read().then(onLoad, fail)} />}
        {error && !isAtField(error) && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
        <ContactFields contact={contact} error={error} />
      </form>
    </Dialog>
  );
}
