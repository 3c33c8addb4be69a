/** All imports, newest first. */
import { Link } from "@tanstack/react-router";
import { data } from "../api/client";
import { listImports, type ImportRead } from "../api/generated";
import { count } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { useKeyset } from "../ui/keyset";
import { Badge, Button, Empty, Failed, Loading, PageHead, Time, scrolls } from "../ui/parts";
import { IMPORT_TONE, importStatus } from "../ui/words";
import "./imports.css";

export function Imports() {
  const { query } = useKeyset<ImportRead>(["imports"], (cursor) =>
    data(listImports({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })),
  );
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const begin = may("contacts:write") && (
    <Link to="/imports/new" className="button button-main">
      {t("New import")}
    </Link>
  );
  return (
    <>
      <PageHead title={t("Imports")} actions={begin} />
      {query.isPending ? (
        <Loading />
      ) : query.isError ? (
        <Failed error={query.error} again={() => void query.refetch()} />
      ) : rows.length === 0 ? (
        <Empty title={t("No imports yet")} action={begin}>
          {t("Import a CSV or Excel file. Nothing is written before you have seen what would change, and an import can be undone.")}
        </Empty>
      ) : (
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
                    <Link to="/imports/$id" params={{ id: row.id }} className="row-link">
                      {row.file_name ?? t("From the provider")}
                    </Link>
                    {row.list_name && <span className="faint"> · {row.list_name}</span>}
                  </td>
                  <td>
                    <Badge tone={IMPORT_TONE[row.status]}>{importStatus(row.status)}</Badge>{" "}
                    {row.dry_run && <Badge>{t("Check only")}</Badge>} {row.undone_at && <Badge tone="warn">{t("Undone")}</Badge>}
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
          {query.hasNextPage && (
            <p className="more">
              <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button>
            </p>
          )}
        </div>
      )}
    </>
  );
}
