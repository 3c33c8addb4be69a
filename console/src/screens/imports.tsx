/** The list of imports, newest first. `?kind=do_not_contact` shows do-not-contact lists. */
import { Link, useSearch } from "@tanstack/react-router";
import { data } from "../api/client";
import { listImports, listUploads, type ImportRead, type UploadRead } from "../api/generated";
import { count } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { useKeyset } from "../ui/keyset";
import { More } from "../ui/more";
import { Badge, Empty, Failed, Loading, PageHead, Time, scrolls } from "../ui/parts";
import { PeopleNav } from "../ui/people-nav";
import { IMPORT_TONE, importStatus } from "../ui/words";
import "./imports.css";

export function Imports() {
  const { kind } = useSearch({ from: "/shell/imports" });
  const isUploads = kind === "do_not_contact";
  const begin = may("contacts:write") && (
    <Link to="/imports/new" className="button button-main">
      {t("New import")}
    </Link>
  );
  return (
    <>
      <PageHead title={t("Imports")} actions={begin} />
      <PeopleNav />
      <div className="filters" role="group" aria-label={t("Kind")}>
        <Link to="/imports" search={{}} className="button" aria-current={isUploads ? undefined : "true"}>{t("Files")}</Link>
        <Link to="/imports" search={{ kind: "do_not_contact" }} className="button" aria-current={isUploads ? "true" : undefined}>{t("Do-not-contact lists")}</Link>
      </div>
      {isUploads ? <Uploads begin={begin} /> : <ImportList begin={begin} />}
    </>
  );
}

function ImportList({ begin }: { begin: React.ReactNode }) {
  const { query } = useKeyset<ImportRead>(["imports"], (cursor) =>
    data(listImports({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })),
  );
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  if (query.isPending) return <Loading />;
  if (query.isLoadingError) return <Failed error={query.error} again={() => void query.refetch()} />;
  if (!rows.length) {
    return (
      <Empty title={t("No imports yet")} action={begin}>
        {t("Import a CSV or Excel file. Nothing is written before you have seen what would change, and an import can be undone.")}
      </Empty>
    );
  }
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table imports">
        <thead>
          <tr>
            <th>{t("File")}</th>
            <th>{t("Status")}</th>
            <th className="end">{t("Rows")}</th>
            <th className="end">{t("New")}</th>
            <th className="end">{t("Changed")}</th>
            <th className="end">{t("Not usable")}</th>
            <th>{t("When")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id} className="row">
              <td>
                <Link to="/imports/$id" params={{ id: row.id }} search={{}} className="row-link">
                  {row.file_name ?? t("From the provider")}
                </Link>
                {row.list_name && <span className="faint"> · {row.list_name}</span>}
              </td>
              <td>
                {!(row.dry_run && row.status === "completed") && <Badge tone={IMPORT_TONE[row.status]}>{importStatus(row.status)}</Badge>}{" "}
                {row.kind === "outcomes" && <Badge tone="info">{t("Outcomes")}</Badge>} {row.dry_run && <Badge>{t("Check only")}</Badge>}{" "}
                {row.undone_at && <Badge tone="warn">{t("Undone")}</Badge>}
              </td>
              <td className="end">{row.rows_total === null ? "–" : count(row.rows_total)}</td>
              <td className="end">{count(row.created)}</td>
              <td className="end">{count(row.updated)}</td>
              <td className="end">{count(row.invalid)}</td>
              <td className="faint"><Time at={row.created_at} relative /></td>
            </tr>
          ))}
        </tbody>
      </table>
      <More query={query} />
    </div>
  );
}

function Uploads({ begin }: { begin: React.ReactNode }) {
  const { query } = useKeyset<UploadRead>(["uploads"], (cursor) =>
    data(listUploads({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })),
  );
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  if (query.isPending) return <Loading />;
  if (query.isLoadingError) return <Failed error={query.error} again={() => void query.refetch()} />;
  if (!rows.length) {
    return (
      <Empty title={t("No do-not-contact lists yet")} action={begin}>
        {t("A list of numbers that must never get a message, for example from a registry or an old system.")}
      </Empty>
    );
  }
  return (
    <div className="scroll-x" ref={scrolls}>
      <table className="table imports">
        <thead>
          <tr>
            <th>{t("File")}</th>
            <th>{t("Status")}</th>
            <th className="end">{t("Numbers")}</th>
            <th className="end">{t("Stopped")}</th>
            <th className="end">{t("Not usable")}</th>
            <th>{t("When")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.id} className="row">
              <td>
                <Link to="/imports/$id" params={{ id: row.id }} search={{ kind: "do_not_contact" }} className="row-link">{row.file_name ?? row.reason}</Link>
                <span className="faint"> · {row.reason}</span>
              </td>
              <td><Badge tone={IMPORT_TONE[row.status]}>{importStatus(row.status)}</Badge> {row.dry_run && <Badge>{t("Check only")}</Badge>}</td>
              <td className="end">{count(row.numbers_read)}</td>
              <td className="end">{count(row.newly_suppressed)}</td>
              <td className="end">{count(row.invalid)}</td>
              <td className="faint"><Time at={row.created_at} relative /></td>
            </tr>
          ))}
        </tbody>
      </table>
      <More query={query} />
    </div>
  );
}
