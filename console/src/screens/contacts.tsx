/** All contacts, a million if need be; the filters are in the address. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useState, type FormEvent } from "react";
import { data } from "../api/client";
import { createContact, listContacts, listLists, listTags, type ContactRead } from "../api/generated";
import { ApiProblem, fieldError, sentenceOf } from "../api/problem";
import { count, personName, phone } from "../format";
import { t } from "../i18n";
import type { ContactSearch } from "../routes";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { PAGE, useKeyset } from "../ui/keyset";
import { Badge, Button, Empty, Failed, Field, Loading, PageHead, Time } from "../ui/parts";
import { Search } from "../ui/search";
import { say } from "../ui/toasts";
import { VirtualTable, type Column } from "../ui/virtual-table";
import { plain } from "../ui/words";
import "./contacts.css";

function columns(): Column<ContactRead>[] {
  return [
    {
      key: "name", name: t("Name"), width: "minmax(150px, 1.6fr)",
      cell: (row) => (
        <Link to="/contacts/$id" params={{ id: row.id }} className="row-link">
          {personName(row)}
        </Link>
      ),
    },
    { key: "phone", name: t("Phone"), width: "132px", className: "number", cell: (row) => phone(row.phone) },
    {
      key: "place", name: t("Place"), width: "minmax(120px, 1fr)", className: "hide-narrow faint",
      cell: (row) => [row.address.city, row.address.state].filter(Boolean).join(", ") || "–",
    },
    {
      key: "state", name: t("Consent"), width: "minmax(104px, 0.8fr)",
      cell: (row) => <Flags row={row} />,
    },
    {
      key: "tags", name: t("Tags"), width: "minmax(110px, 1fr)", className: "hide-narrow",
      cell: (row) => row.tags.slice(0, 3).map((tag) => <Badge key={tag}>{tag}</Badge>),
    },
    { key: "created", name: t("Added"), width: "84px", className: "hide-narrow faint", cell: (row) => <Time at={row.created_at} relative /> },
  ];
}

function Flags({ row }: { row: ContactRead }) {
  if (row.opted_out) return <Badge tone="bad">{t("Opted out")}</Badge>;
  const flag = row.flags[0];
  if (flag) return <Badge tone={flag === "opt_out_hold" ? "hold" : "warn"}>{plain(flag)}</Badge>;
  return <span className="faint">{t("May be texted")}</span>;
}

export function Contacts() {
  const filter = useSearch({ from: "/shell/contacts" });
  const navigate = useNavigate({ from: "/contacts" });
  const [isAdding, setAdding] = useState(false);
  const set = useCallback(
    (change: Partial<ContactSearch>) =>
      void navigate({ search: (was) => ({ ...was, ...change }), replace: true }),
    [navigate],
  );
  const list = useKeyset<ContactRead>(["contacts", filter], (cursor, signal) =>
    data(
      listContacts({
        signal,
        throwOnError: true,
        query: {
          limit: PAGE,
          ...(cursor ? { cursor } : {}),
          ...(filter.q ? { q: filter.q } : {}),
          ...(filter.tag ? { tag: filter.tag } : {}),
          ...(filter.list ? { list_id: filter.list } : {}),
          ...(filter.opted_out ? { opted_out: filter.opted_out === "yes" } : {}),
          ...(filter.flag ? { flag: filter.flag } : {}),
          ...(filter.state ? { state: filter.state } : {}),
          sort: (filter.sort as "name" | undefined) ?? "-created_at",
        },
      }),
    ),
  );
  const isFiltered = Object.values(filter).some(Boolean);
  const number = list.isComplete ? count(list.count) : `${count(list.count)}+`;
  return (
    <div className="screen-full">
      <PageHead
        title={t("Contacts")}
        actions={
          may("contacts:write") && (
            <>
              <Link to="/imports/new" className="button">{t("Import")}</Link>
              <Button kind="main" icon="plus" onClick={() => setAdding(true)}>
                {t("New contact")}
              </Button>
            </>
          )
        }
      >
        {list.query.data && <span className="faint number" data-part="contacts">{number}</span>}
      </PageHead>
      <Filters filter={filter} set={set} isFiltered={isFiltered} />
      {list.query.isPending ? (
        <Loading lines={12} />
      ) : list.query.isError ? (
        <Failed error={list.query.error} again={() => void list.query.refetch()} />
      ) : list.count === 0 ? (
        <NoContacts isFiltered={isFiltered} />
      ) : (
        <VirtualTable
          label={t("Contacts")}
          columns={columns()}
          count={list.count}
          isComplete={list.isComplete}
          rowAt={list.rowAt}
          keyOf={(row) => row.id}
          onSight={list.onSight}
        />
      )}
      {isAdding && <NewContact onClose={() => setAdding(false)} />}
    </div>
  );
}

function NoContacts({ isFiltered }: { isFiltered: boolean }) {
  return isFiltered ? (
    <Empty
      title={t("No contact matches")}
      action={
        <Link to="/contacts" search={{}} className="button">
          {t("Clear the filters")}
        </Link>
      }
    >
      {t("Change the search or a filter.")}
    </Empty>
  ) : (
    <Empty
      title={t("No contacts yet")}
      action={
        <Link to="/imports/new" className="button button-main">
          {t("Import a file")}
        </Link>
      }
    >
      {t("Import a list of homeowners as CSV or Excel, or add one person by hand.")}
    </Empty>
  );
}

type FilterProps = { filter: ContactSearch; set: (change: Partial<ContactSearch>) => void; isFiltered: boolean };

function Filters({ filter, set, isFiltered }: FilterProps) {
  const tags = useQuery({ queryKey: ["tags"], queryFn: () => data(listTags({ query: { limit: 200 }, throwOnError: true })) });
  const lists = useQuery({ queryKey: ["lists"], queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const onSearch = useCallback((q: string) => set({ q: q || undefined }), [set]);
  return (
    <div className="filters" role="search">
      <Search label={t("Name, number, e-mail or company")} value={filter.q ?? ""} onChange={onSearch} />
      <select aria-label={t("List")} value={filter.list ?? ""} onChange={(event) => set({ list: event.target.value || undefined })}>
        <option value="">{t("All lists")}</option>
        {lists.data?.data.map((one) => (
          <option key={one.id} value={one.id}>{one.name}</option>
        ))}
      </select>
      {tags.data?.data.length ? (
        <select aria-label={t("Tag")} value={filter.tag ?? ""} onChange={(event) => set({ tag: event.target.value || undefined })}>
          <option value="">{t("All tags")}</option>
          {tags.data.data.map((one) => (
            <option key={one.tag} value={one.tag}>{one.tag}</option>
          ))}
        </select>
      ) : null}
      <select
        aria-label={t("Consent")}
        value={filter.opted_out ? `opted:${filter.opted_out}` : filter.flag ? `flag:${filter.flag}` : ""}
        onChange={(event) => {
          const [kind, value] = event.target.value.split(":");
          set({ opted_out: kind === "opted" ? value : undefined, flag: kind === "flag" ? value : undefined });
        }}
      >
        <option value="">{t("Any consent")}</option>
        <option value="opted:no">{t("Not opted out")}</option>
        <option value="opted:yes">{t("Opted out")}</option>
        <option value="flag:opt_out_hold">{t("On hold")}</option>
        <option value="flag:do_not_contact">{t("Do not contact")}</option>
      </select>
      <select aria-label={t("Order")} value={filter.sort ?? "-created_at"} onChange={(event) => set({ sort: event.target.value === "-created_at" ? undefined : event.target.value })}>
        <option value="-created_at">{t("Newest first")}</option>
        <option value="created_at">{t("Oldest first")}</option>
        <option value="name">{t("By name")}</option>
        <option value="-updated_at">{t("Last changed first")}</option>
      </select>
      {isFiltered && (
        <Link to="/contacts" search={{}} className="link">
          {t("Clear")}
        </Link>
      )}
    </div>
  );
}

function NewContact({ onClose }: { onClose: () => void }) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const create = useMutation({
    mutationFn: (body: { phone: string; first_name?: string; last_name?: string; email?: string }) =>
      data(createContact({ body, throwOnError: true })),
    onSuccess: async (made) => {
      say(t("The contact was added."));
      void cache.invalidateQueries({ queryKey: ["contacts"] });
      await navigate({ to: "/contacts/$id", params: { id: made.id } });
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(event.currentTarget)].filter(([, value]) => value)) as never;
    create.mutate(values);
  };
  const known = create.error instanceof ApiProblem && create.error.code === "contact_exists" ? String(create.error.extras.contact_id) : null;
  const field = (name: string, label: string, type = "text") => (
    <Field label={label} error={fieldError(create.error, `/${name}`)}>
      {(attributes) => <input {...attributes} name={name} type={type} required={name === "phone"} autoFocus={name === "phone"} />}
    </Field>
  );
  return (
    <Dialog
      title={t("New contact")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" type="submit" form="new-contact" busy={create.isPending}>
            {t("Add")}
          </Button>
        </>
      }
    >
      <form id="new-contact" className="form" onSubmit={submit}>
        {create.error && !Object.keys((create.error as ApiProblem).fields ?? {}).length && (
          <p className="notice notice-bad" role="alert">
            {sentenceOf(create.error)}{" "}
            {known && (
              <Link to="/contacts/$id" params={{ id: known }}>
                {t("Open this contact")}
              </Link>
            )}
          </p>
        )}
        {field("phone", t("Phone"), "tel")}
        <div className="form-pair">
          {field("first_name", t("First name"))}
          {field("last_name", t("Last name"))}
        </div>
        {field("email", t("E-mail"), "email")}
      </form>
    </Dialog>
  );
}
