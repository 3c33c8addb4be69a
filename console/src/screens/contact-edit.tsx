/** Change the fields of a contact; what the API refuses is shown at its field. */
import { useMutation } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { data } from "../api/client";
import { updateContact, type ContactRead, type ContactUpdate } from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Field } from "../ui/parts";
import { say } from "../ui/toasts";
import { useRefresh } from "./contact-refresh";

const ADDRESS = ["street", "city", "state", "postal_code"] as const;

export function EditDialog({ contact, onClose }: { contact: ContactRead; onClose: () => void }) {
  const refresh = useRefresh(contact.id);
  const save = useMutation({
    mutationFn: (body: ContactUpdate) => data(updateContact({ path: { contact_id: contact.id }, body, throwOnError: true })),
    onSuccess: () => (say(t("Saved.")), refresh(), onClose()),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name)).trim() || null;
    save.mutate({
      first_name: text("first_name"), last_name: text("last_name"), email: text("email"), company: text("company"),
      address: Object.fromEntries(ADDRESS.map((name) => [name, text(name)])),
      tags: String(form.get("tags")).split(",").map((one) => one.trim()).filter(Boolean),
    });
  };
  const { error } = save;
  const hasFields = error instanceof ApiProblem && Object.keys(error.fields).length > 0;
  const field = (name: "first_name" | "last_name" | "email" | "company" | (typeof ADDRESS)[number], label: string) => {
    const isAddress = ADDRESS.includes(name as "city");
    const value = isAddress ? contact.address[name as "city"] : contact[name as "email"];
    return (
      <Field label={label} error={fieldError(error, isAddress ? `/address/${name}` : `/${name}`)}>
        {(attributes) => <input {...attributes} name={name} defaultValue={value ?? ""} />}
      </Field>
    );
  };
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
        {error && !hasFields && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
        <div className="form-pair">
          {field("first_name", t("First name"))}
          {field("last_name", t("Last name"))}
        </div>
        <div className="form-pair">
          {field("email", t("E-mail"))}
          {field("company", t("Company"))}
        </div>
        {field("street", t("Street"))}
        <div className="form-pair">
          {field("city", t("City"))}
          <div className="form-pair">
            {field("state", t("State"))}
            {field("postal_code", t("ZIP code"))}
          </div>
        </div>
        <Field label={t("Tags")} hint={t("Separate them with commas.")} error={fieldError(error, "/tags") ?? (hasFields ? Object.entries(error.fields).find(([at]) => at.startsWith("/tags/"))?.[1] : undefined)}>
          {(attributes) => <input {...attributes} name="tags" defaultValue={contact.tags.join(", ")} />}
        </Field>
      </form>
    </Dialog>
  );
}
