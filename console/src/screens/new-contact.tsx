/** The dialog that creates a contact. An error of the API is shown beside its field. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { data } from "../api/client";
import { createContact, type ContactCreate } from "../api/generated";
import { ApiProblem, sentenceOf } from "../api/problem";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";
import { Button } from "../ui/parts";
import { say } from "../ui/toasts";
import { ContactFields, entered, isAtField } from "./contact-fields";

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
    const form = new FormData(event.currentTarget);
    create.mutate({ phone: String(form.get("phone")).trim(), ...entered(form) });
  };
  const { error } = create;
  const known = error instanceof ApiProblem && error.code === "contact_exists" ? String(error.extras.contact_id) : null;
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
        {error && !isAtField(error) && (
          <p className="notice notice-bad" role="alert">
            {sentenceOf(error)} {known && <Link to="/contacts/$id" params={{ id: known }}>{t("Open this contact")}</Link>}
          </p>
        )}
        <ContactFields error={error} />
      </form>
    </Dialog>
  );
}
