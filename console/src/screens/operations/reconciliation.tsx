/** Comparisons with the provider: which data were missing here, and which data differed. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { createRun, listProviderStops, listRuns, resolveProviderStop, type ProviderStopRead, type ReconciliationRead } from "../../api/generated";
import { sentenceOf } from "../../api/problem";
import { count, currentZone, phone } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { useKeyset } from "../../ui/keyset";
import { More } from "../../ui/more";
import { Badge, Button, Field, Time, scrolls } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { stateName } from "../../ui/states";
import { instantOf } from "../../ui/zoned";
import { Raw, Shown, TONE } from "./shown";

export function Reconciliation() {
  const cache = useQueryClient();
  const [asks, setAsks] = useState(false);
  const { query: runs } = useKeyset<ReconciliationRead>(["reconciliation"], (cursor) => data(listRuns({ query: { limit: 30, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const begin = useMutation({
    mutationFn: (since: string | null) => data(createRun({ body: since ? { since } : {}, throwOnError: true })),
    onSuccess: () => (setAsks(false), say(t("The comparison has begun.")), void cache.invalidateQueries({ queryKey: ["reconciliation"] })),
  });
  const rows = runs.data?.pages.flatMap((page) => page.data) ?? [];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const since = String(new FormData(event.currentTarget).get("since"));
    begin.mutate(since ? instantOf(since, currentZone()).toISOString() : null);
  };
  return (
    <>
      <section className="card" aria-labelledby="runs-title">
        <div className="card-head">
          <h2 id="runs-title">{t("Comparisons with the provider")}</h2>
          {may("operations") && <Button onClick={() => setAsks(true)}>{t("Compare now")}</Button>}
        </div>
        <Shown query={runs}>
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead>
                <tr><th>{t("Began")}</th><th>{t("Status")}</th><th>{t("Reason")}</th><th>{t("Period")}</th><th className="end">{t("Compared")}</th><th className="end">{t("Missing, added")}</th><th className="end">{t("Changed")}</th><th className="end">{t("Errors")}</th><th>{t("Difference")}</th></tr>
              </thead>
              <tbody>
                {rows.map((one) => (
                  <tr key={one.id}>
                    <td className="faint"><Time at={one.created_at} /></td>
                    <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                    <td>{stateName(one.trigger)} {one.last_error && <span className="field-error">{one.last_error}</span>}</td>
                    <td className="faint"><Time at={one.since} /> – <Time at={one.until} /></td>
                    <td className="end">{count(one.items_seen)}</td>
                    <td className="end">{count(one.created)}</td>
                    <td className="end">{count(one.updated)}</td>
                    <td className="end">{count(one.errors)}</td>
                    <td><Raw label={t("Show")} value={one.drift} /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          {rows.length === 0 && <p className="card-body faint">{t("None yet. One runs every night, and after an outage.")}</p>}
          <More query={runs} />
        </Shown>
        {asks && (
          <Dialog title={t("Compare now")} onClose={() => setAsks(false)} footer={<><Button onClick={() => setAsks(false)}>{t("Go back")}</Button><Button kind="main" type="submit" form="run-form" busy={begin.isPending}>{t("Compare")}</Button></>}>
            <form id="run-form" className="form" onSubmit={submit}>
              {begin.error && <p className="notice notice-bad" role="alert">{sentenceOf(begin.error)}</p>}
              <Field label={t("From when on")} hint={t("Empty is since the last comparison. Time zone: {zone}.", { zone: currentZone() })}>{(attributes) => <input {...attributes} name="since" type="datetime-local" />}</Field>
            </form>
          </Dialog>
        )}
      </section>
      {may("operations") && <Stops />}
    </>
  );
}

function Stops() {
  const cache = useQueryClient();
  const { query } = useKeyset<ProviderStopRead>(["provider-stops"], (cursor) => data(listProviderStops({ query: { limit: 50, ...(cursor ? { cursor } : {}) }, throwOnError: true })));
  const resolve = useMutation({
    mutationFn: (id: string) => data(resolveProviderStop({ path: { stop_id: id }, body: {}, throwOnError: true })),
    onSuccess: () => (say(t("Resolved.")), void cache.invalidateQueries({ queryKey: ["provider-stops"] })),
    onError: fail,
  });
  const rows = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="stops-title">
      <div className="card-head"><h2 id="stops-title">{t("Numbers that the provider refuses, but are not opted out here")}</h2></div>
      <Shown query={query}>
        {rows.length === 0 ? (
          <p className="card-body faint">{t("Both lists agree.")}</p>
        ) : (
          <div className="scroll-x" ref={scrolls}>
            <table className="table">
              <thead><tr><th>{t("Number")}</th><th>{t("Status")}</th><th>{t("Code")}</th><th className="end">{t("Failures")}</th><th>{t("Last")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
              <tbody>
                {rows.map((one) => (
                  <tr key={one.id}>
                    <td className="number">{phone(one.phone)}</td>
                    <td><Badge tone={TONE[one.status] ?? "neutral"}>{stateName(one.status)}</Badge></td>
                    <td>{one.error_code}</td>
                    <td className="end">{count(one.failures)}</td>
                    <td className="faint"><Time at={one.last_failed_at} /></td>
                    <td className="end">{one.status === "open" && <Button kind="quiet" busy={resolve.isPending} onClick={() => resolve.mutate(one.id)}>{t("It works again")}</Button>}</td>
                  </tr>
                ))}
              </tbody>
            </table>
            <More query={query} />
          </div>
        )}
      </Shown>
    </section>
  );
}
