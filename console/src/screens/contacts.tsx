/** The list of all contacts, up to a million. The address of the screen contains the filters. */
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { memo, useCallback, useMemo, useState } from "react";
import { data } from "../api/client";
import { listContacts, listLists, listSegmentContacts, listSegments, listTags, type ContactRead } from "../api/generated";
import { filterQuery } from "../api/people-export";
import { count, personName, phone } from "../format";
import { t } from "../i18n";
import type { ContactSearch } from "../routes";
import { may } from "../session";
import { PAGE, useKeyset } from "../ui/keyset";
import { Badge, Button, Empty, Failed, Loading, PageHead, Time } from "../ui/parts";
import { PeopleNav } from "../ui/people-nav";
import { PlainLink } from "../ui/plain-link";
import { Search } from "../ui/search";
import { VirtualTable, type Column } from "../ui/virtual-table";
import { flagName } from "../ui/code-names";
import { BulkDialog } from "./bulk";
import { NewContact } from "./new-contact";
import "./contacts.css";

const ALL = "all";
/** Maximum number of contacts that can be selected one by one. The address contains their ids. */
const MOST_PICKED = 100;

function columns(picks: Picks | null): Column<ContactRead>[] {
  return [
    ...(picks ? [pickColumn(picks)] : []),
    {
      key: "name", name: t("Name"), width: "minmax(150px, 1.6fr)",
      cell: (row) => <PlainLink href={`/contacts/${row.id}`} className="row-link">{personName(row)}</PlainLink>,
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

type Picks = { ids: Set<string>; isAll: boolean; toggle: (id: string) => void };

function pickColumn({ ids, isAll, toggle }: Picks): Column<ContactRead> {
  return {
    key: "pick", name: t("Select"), width: "20px", className: "pick",
    cell: (row) => (
      <input
        type="checkbox"
        aria-label={t("Select {name}", { name: personName(row) })}
        checked={isAll || ids.has(row.id)}
        disabled={isAll || (ids.size >= MOST_PICKED && !ids.has(row.id))}
        onChange={() => toggle(row.id)}
      />
    ),
  };
}

function Flags({ row }: { row: ContactRead }) {
  if (row.opted_out) return <Badge tone="bad">{t("Opted out")}</Badge>;
  const flag = row.flags[0];
  if (flag) return <Badge tone={flag === "opt_out_hold" ? "hold" : "warn"}>{flagName(flag)}</Badge>;
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
  const { pick } = filter;
  const wanted = useMemo<ContactSearch>(() => ({ ...filter, pick: undefined }), [filter]);
  const list = useKeyset<ContactRead>(["contacts", wanted], (cursor, signal) => {
    const page = { limit: PAGE, ...(cursor ? { cursor } : {}) };
    if (wanted.segment) return data(listSegmentContacts({ signal, throwOnError: true, path: { segment_id: wanted.segment }, query: page }));
    const sort = (wanted.sort as "name" | undefined) ?? "-created_at";
    return data(listContacts({ signal, throwOnError: true, query: { ...page, ...filterQuery(wanted), sort } }));
  });
  const picks = useMemo<Picks>(() => {
    const ids = new Set(pick && pick !== ALL ? pick.split(",") : []);
    const toggle = (id: string) => {
      const next = new Set(ids);
      if (!next.delete(id)) next.add(id);
      set({ pick: [...next].join(",") || undefined });
    };
    return { ids, isAll: pick === ALL, toggle };
  }, [pick, set]);
  const shown = useMemo(() => columns(may("contacts:write") ? picks : null), [picks]);
  const isFiltered = Object.values(wanted).some(Boolean);
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
      <PeopleNav />
      <Filters filter={wanted} set={set} isFiltered={isFiltered} />
      {list.query.isPending ? (
        <Loading lines={12} />
      ) : list.query.isLoadingError ? (
        <Failed error={list.query.error} again={() => void list.query.refetch()} />
      ) : list.count === 0 ? (
        <NoContacts isFiltered={isFiltered} />
      ) : (
        <>
        {may("contacts:write") && <Selection picks={picks} filter={wanted} set={set} number={number} isFiltered={isFiltered} />}
        <div className={may("contacts:write") ? "pickable" : "unpickable"}>
        <VirtualTable
          label={t("Contacts")}
          columns={shown}
          count={list.count}
          isComplete={list.isComplete}
          rowAt={list.rowAt}
          keyOf={(row) => row.id}
          onSight={list.onSight}
        />
        </div>
        </>
      )}
      {isAdding && <NewContact onClose={() => setAdding(false)} />}
    </div>
  );
}

type SelectionProps = { picks: Picks; filter: ContactSearch; set: (change: Partial<ContactSearch>) => void; number: string; isFiltered: boolean };

/** Show how many contacts are selected, and buttons for what can be done with them. */
function Selection({ picks, filter, set, number, isFiltered }: SelectionProps) {
  const [isOpen, setOpen] = useState(false);
  const { ids, isAll } = picks;
  const [first, second] = [...ids];
  const all = isFiltered ? t("All contacts that match") : t("All contacts");
  const chosen = isAll ? all : t("{n, plural, one {# contact} other {# contacts}} selected", { n: ids.size });
  return (
    <div className="selection" role="group" aria-label={t("Selection")}>
      {!isAll && ids.size === 0 ? (
        <>
          <span className="faint number">{t("{n} shown", { n: number })}</span>
          <button type="button" className="link" onClick={() => set({ pick: ALL })}>{isFiltered ? t("Select all that match") : t("Select all contacts")}</button>
        </>
      ) : (
        <>
          <strong role="status">{chosen}</strong>
          <Button onClick={() => setOpen(true)}>{t("Change them")}</Button>
          {!isAll && ids.size === 2 && <Link to="/contacts/$id" params={{ id: first! }} search={{ merge: second! }} className="button">{t("Merge them")}</Link>}
          {!isAll && <button type="button" className="link" onClick={() => set({ pick: ALL })}>{isFiltered ? t("Select all that match") : t("Select all contacts")}</button>}
          <button type="button" className="link" onClick={() => set({ pick: undefined })}>{t("Select none")}</button>
        </>
      )}
      {isOpen && <BulkDialog title={chosen} target={isAll ? { filter } : { ids: [...ids] }} onClose={() => setOpen(false)} />}
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

const NOTHING: ContactSearch = { q: undefined, tag: undefined, list: undefined, opted_out: undefined, flag: undefined, state: undefined, pick: undefined };

type FilterProps = { filter: ContactSearch; set: (change: Partial<ContactSearch>) => void; isFiltered: boolean };

const Filters = memo(function Filters({ filter, set, isFiltered }: FilterProps) {
  const tags = useQuery({ queryKey: ["tags"], queryFn: () => data(listTags({ query: { limit: 200 }, throwOnError: true })) });
  const lists = useQuery({ queryKey: ["lists"], queryFn: () => data(listLists({ query: { limit: 200 }, throwOnError: true })) });
  const segments = useQuery({ queryKey: ["segments", "names"], queryFn: () => data(listSegments({ query: { limit: 200 }, throwOnError: true })) });
  const onSearch = useCallback((q: string) => set({ q: q || undefined, pick: undefined }), [set]);
  const clear = <Link to="/contacts" search={{}} className="link">{t("Clear")}</Link>;
  const bySegment = segments.data?.data.length || filter.segment ? (
    <select aria-label={t("Segment")} value={filter.segment ?? ""} onChange={(event) => set({ ...NOTHING, segment: event.target.value || undefined })}>
      <option value="">{t("No segment")}</option>
      {segments.data?.data.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
    </select>
  ) : null;
  if (filter.segment) {
    return (
      <div className="filters" role="search">
        {bySegment}
        <Link to="/segments" search={{ id: filter.segment }} className="link">{t("Show the rules")}</Link>
        {clear}
      </div>
    );
  }
  return (
    <div className="filters" role="search">
      <Search label={t("Name, number, e-mail or company")} value={filter.q ?? ""} onChange={onSearch} />
      <select aria-label={t("List")} value={filter.list ?? ""} onChange={(event) => set({ list: event.target.value || undefined, pick: undefined })}>
        <option value="">{t("All lists")}</option>
        {lists.data?.data.map((one) => (
          <option key={one.id} value={one.id}>{one.name}</option>
        ))}
      </select>
      {tags.data?.data.length ? (
        <select aria-label={t("Tag")} value={filter.tag ?? ""} onChange={(event) => set({ tag: event.target.value || undefined, pick: undefined })}>
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
          set({ opted_out: kind === "opted" ? value : undefined, flag: kind === "flag" ? value : undefined, pick: undefined });
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
      {bySegment}
      {isFiltered && clear}
    </div>
  );
});
