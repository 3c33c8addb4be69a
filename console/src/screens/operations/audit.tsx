/** The audit log: who changed what, and from where. The address contains the filters. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";
import { data } from "../../api/client";
import { listAuditLog, type AuditEntryRead } from "../../api/generated";
import { currentZone } from "../../format";
import { t } from "../../i18n";
import { Actor } from "../../ui/actor";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Time, scrolls } from "../../ui/parts";
import { Search } from "../../ui/search";
import { plain } from "../../ui/words";
import { Raw, Shown } from "./shown";

export function Audit() {
  const filter = useSearch({ from: "/shell/operations" });
  const navigate = useNavigate({ from: "/operations" });
  const set = useCallback((change: Partial<typeof filter>) => void navigate({ search: (was) => ({ ...was, ...change }), replace: true }), [navigate]);
  const onActor = useCallback((actor: string) => set({ actor: actor || undefined }), [set]);
  const onAction = useCallback((action: string) => set({ action: action || undefined }), [set]);
  const { actor, action, since } = filter;
  const { query } = useKeyset<AuditEntryRead>(["audit", actor, action, since], (cursor) =>
    data(
      listAuditLog({
        query: { limit: 50, ...(cursor ? { cursor } : {}), ...(actor ? { actor } : {}), ...(action ? { action } : {}), ...(since ? { created_after: since, timezone: currentZone() } : {}) },
        throwOnError: true,
      }),
    ),
  );
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  const isFiltered = Boolean(actor || action || since);
  return (
    <section className="card" aria-labelledby="audit-title">
      <div className="card-head">
        <h2 id="audit-title">{t("Who changed what")}</h2>
        <div className="page-actions">
          <Search label={t("Who, exactly")} value={actor ?? ""} onChange={onActor} />
          <Search label={t("What, exactly")} value={action ?? ""} onChange={onAction} />
          <input className="auto" type="date" aria-label={t("Since")} value={since ?? ""} onChange={(event) => set({ since: event.target.value || undefined })} />
        </div>
      </div>
      <Shown query={query}>
        {rows.length === 0 ? (
          <p className="card-body faint">{isFiltered ? t("No entry matches.") : t("Nothing was changed yet.")}</p>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead><tr><th>{t("When")}</th><th>{t("Who")}</th><th>{t("What")}</th><th>{t("Where from")}</th><th>{t("Details")}</th></tr></thead>
              <tbody>
                {rows.map((one) => (
                  <tr key={one.id}>
                    <td className="faint"><Time at={one.created_at} /></td>
                    <td><button type="button" className="link" title={one.actor} onClick={() => set({ actor: one.actor })}><Actor who={one.actor} /></button></td>
                    <td><button type="button" className="link" title={one.action} onClick={() => set({ action: one.action })}>{plain(one.action)}</button> {one.decision && <span className="faint">{plain(one.decision)}</span>}</td>
                    <td className="faint">{one.address ?? ""}</td>
                    <td><Raw value={{ ...(one.subject ? { subject: one.subject } : {}), ...(one.detail as Record<string, unknown>), ...(one.request_id ? { request_id: one.request_id } : {}) }} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <More query={query} />
      </Shown>
    </section>
  );
}
