/** A contact made by hand; what the API refuses is shown at its field. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { data } from "../api/client";
import { createContact, type ContactCreate } from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button, Field } from "../ui/parts";
import { say } from "../ui/toasts";

const ADDRESS = ["street", "city", "state", "postal_code"] as const;

function bodyOf(form: FormData): ContactCreate {
  const text = (name: string) => String(form.get(name) ?? "").trim();
  const address = Object.fromEntries(ADDRESS.map((name) => [name, text(name)] as const).filter(([, value]) => value));
  const tags = text("tags").split(",").map((one) => one.trim()).filter(Boolean);
  const names = (["first_name", "last_name", "email", "company"] as const).map((name) => [name, text(name)] as const).filter(([, value]) => value);
  return { phone: text("phone"), ...Object.fromEntries(names), ...(Object.keys(address).length ? { address } : {}), ...(tags.length ? { tags } : {}) };
}

/** The fault of a field, or of a part of it such as `/tags/0`. */
function faultOf(error: unknown, pointer: string): string | undefined {
  if (!(error instanceof ApiProblem)) return undefined;
  return fieldError(error, pointer) ?? Object.entries(error.fields).find(([at]) => at.startsWith(`${pointer}/`))?.[1];
}

export function NewContact({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const create = useMutation({
    mutationFn: (body: ContactCreate) => data(createContact({ body, throwOnError: true })),
    onSuccess: async (made) => {
      say(t("The contact was added."));
      void cache.invalidateQueries({ queryKey: ["contacts"] });
      await navigate({ to: "/contacts/$id", params: { id: made.id } });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    create.mutate(bodyOf(new FormData(event.currentTarget)));
  };
  const { error } = create;
  const known = error instanceof ApiProblem && error.code === "contact_exists" ? String(error.extras.contact_id) : null;
  const shown = ["phone", "first_name", "last_name", "email", "company", "address", "tags"];
  const isShown = error instanceof ApiProblem && Object.keys(error.fields).some((at) => shown.includes(at.split("/")[1] ?? ""));
  const field = (name: string, label: string, type = "text") => {
    const pointer = ADDRESS.includes(name as "city") ? `/address/${name}` : `/${name}`;
    const isPhone = name === "phone";
    return (
      <Field label={label} error={faultOf(error, pointer)} {...(name === "tags" ? { hint: t("Separate them with commas.") } : {})}>
        {(attributes) => <input {...attributes} name={name} type={type} required={isPhone} autoFocus={isPhone} />}
      </Field>
    );
  };
  return (
    <Dialog
      title={t("New contact")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" type="submit" form="new-contact" busy={create.isPending}>{t("Add")}</Button>
        </>
      }
    >
      <form id="new-contact" className="form" onSubmit={submit}>
        {error && !isShown && (
          <p className="notice notice-bad" role="alert">
            {sentenceOf(error)} {known && <Link to="/contacts/$id" params={{ id: known }}>{t("Open this contact")}</Link>}
          </p>
        )}
        {field("phone", t("Phone"), "tel")}
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
        {field("tags", t("Tags"))}
      </form>
    </Dialog>
  );
}
