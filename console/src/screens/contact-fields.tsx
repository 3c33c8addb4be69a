/** The form fields of a contact. An error of the API is shown beside its field. */
import type { ContactRead } from "../api/generated";
import { ApiProblem, fieldError } from "../api/problem";
import { t } from "../i18n";
import { Field } from "../ui/parts";

const ADDRESS = ["street", "city", "state", "postal_code"] as const;
const SHOWN = ["phone", "first_name", "last_name", "email", "company", "address", "tags"];

/** Return the entered values, without the phone number. An empty text field is null. */
export function entered(form: FormData) {
  const text = (name: string) => String(form.get(name) ?? "").trim() || null;
  return {
    first_name: text("first_name"), last_name: text("last_name"), email: text("email"), company: text("company"),
    address: Object.fromEntries(ADDRESS.map((name) => [name, text(name)])),
    tags: (text("tags") ?? "").split(",").map((one) => one.trim()).filter(Boolean),
  };
}

/** Return the values that the form has for a contact before the user changes them. */
export function enteredOf(contact: ContactRead): ReturnType<typeof entered> {
  const form = new FormData();
  for (const name of ["first_name", "last_name", "email", "company", ...ADDRESS, "tags"]) form.set(name, valueOf(contact, name));
  return entered(form);
}

function valueOf(contact: ContactRead | undefined, name: string): string {
  if (!contact) return "";
  if (name === "tags") return contact.tags.join(", ");
  return (ADDRESS.includes(name as "city") ? contact.address[name as "city"] : contact[name as "email"]) ?? "";
}

/** Return whether the form shows the error at one of its fields. */
export function isAtField(error: unknown): boolean {
  return error instanceof ApiProblem && Object.keys(error.fields).some((at) => SHOWN.includes(at.split("/")[1] ?? ""));
}

/** Return the error of a field, or of a part of the field such as `/tags/0`. */
function faultOf(error: unknown, pointer: string): string | undefined {
  if (!(error instanceof ApiProblem)) return undefined;
  return fieldError(error, pointer) ?? Object.entries(error.fields).find(([at]) => at.startsWith(`${pointer}/`))?.[1];
}

/** Show the fields of a contact. A new contact also has a field for the phone number. */
export function ContactFields({ contact, error }: { contact?: ContactRead; error: unknown }) {
  const field = (name: string, label: string) => {
    const isPhone = name === "phone";
    return (
      <Field
        label={label}
        error={faultOf(error, ADDRESS.includes(name as "city") ? `/address/${name}` : `/${name}`)}
        {...(name === "tags" ? { hint: t("Separate them with commas.") } : {})}
      >
        {(attributes) => <input {...attributes} name={name} type={isPhone ? "tel" : "text"} defaultValue={valueOf(contact, name)} required={isPhone} autoFocus={isPhone} />}
      </Field>
    );
  };
  return (
    <>
      {!contact && field("phone", t("Phone"))}
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
    </>
  );
}
