/** The versions of the attribution rules, and a form for a new version with a preview. */
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import {
  addAttributionRules, listAttributionRules, previewAttributionRules,
  type AttributionModel, type AttributionPreviewRead, type AttributionRulesRead, type ComparedCredits,
} from "../../api/generated";
import { fieldError } from "../../api/problem";
import { count } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Failed, Field, Loading, scrolls, Time } from "../../ui/parts";
import { say } from "../../ui/toasts";
import { Refused } from "./refused";
import { cents, modelName, people, touchName } from "./words";

const TOUCHES = ["replied", "called", "delivered"] as const;
const MODELS: AttributionModel[] = ["last", "first", "linear", "time_decay"];

function hours(value: number): string {
  if (value === 0) return t("off");
  return value % 24 === 0 ? t("{n, plural, one {# day} other {# days}}", { n: value / 24 }) : t("{n} h", { n: count(value) });
}

export function Rules() {
  const [isAdding, setAdding] = useState(false);
  const query = useInfiniteQuery({
    queryKey: ["attribution-rules", "pages"],
    initialPageParam: "",
    queryFn: ({ pageParam }) => data(listAttributionRules({ query: { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }, throwOnError: true })),
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <>
      {query.isPending && <Loading />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {query.isSuccess && (
        <div className="sections">
          <section className="card" aria-labelledby="rules-title">
            <div className="card-head">
              <h2 id="rules-title">{t("Which message earned it")}</h2>
              {may("insight:write") && <Button icon="plus" onClick={() => setAdding(true)}>{t("New version")}</Button>}
            </div>
            <p className="card-body faint">{t("Versions never change, so a figure under a version can be computed again at any time.")}</p>
            <div className="scroll-x" ref={scrolls}>
              <table className="table" aria-label={t("Attribution rules")}>
                <thead><tr><th>{t("Version")}</th><th>{t("Shares")}</th>{TOUCHES.map((one) => <th key={one} className="end">{touchName(one)}</th>)}<th>{t("Added by")}</th><th>{t("Added")}</th></tr></thead>
                <tbody>
                  {all.map((one, at) => (
                    <tr key={one.version} data-row={one.version}>
                      <td>{one.version} {at === 0 && <Badge tone="good">{t("current")}</Badge>}</td>
                      <td>{modelName(one.model)}</td>
                      {TOUCHES.map((touch) => <td key={touch} className="end">{hours(one.windows[touch])}</td>)}
                      <td>{one.created_by}</td>
                      <td><Time at={one.created_at} /></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
            {query.hasNextPage && <p className="insight-hint"><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
          </section>
        </div>
      )}
      {isAdding && all[0] && <NewRules current={all[0]} onClose={() => setAdding(false)} />}
    </>
  );
}

function NewRules({ current, onClose }: { current: AttributionRulesRead; onClose: () => void }) {
  const cache = useQueryClient();
  const [model, setModel] = useState<AttributionModel>(current.model);
  const [windows, setWindows] = useState<Record<string, string>>(Object.fromEntries(TOUCHES.map((one) => [one, String(current.windows[one])])));
  const [preview, setPreview] = useState<AttributionPreviewRead | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const wrong = TOUCHES.filter((one) => !/^\d{1,4}$/.test(windows[one]!) || Number(windows[one]) > 8_760);
  const body = { model, windows: { replied: Number(windows.replied), called: Number(windows.called), delivered: Number(windows.delivered) } };
  const change = <T,>(apply: (value: T) => void) => (value: T) => (setPreview(null), setError(null), apply(value));
  const run = async (work: () => Promise<void>) => {
    if (wrong.length) return;
    setBusy(true);
    setError(null);
    await work().catch(setError);
    setBusy(false);
  };
  const look = (event: FormEvent) => {
    event.preventDefault();
    void run(async () => setPreview(await data(previewAttributionRules({ body, throwOnError: true }))));
  };
  const add = () =>
    run(async () => {
      const added = await data(addAttributionRules({ body, throwOnError: true }));
      await Promise.all([cache.invalidateQueries({ queryKey: ["attribution-rules"] }), cache.invalidateQueries({ queryKey: ["insight"] })]);
      say(t("Rules {version} are the current ones.", { version: added.version }));
      onClose();
    });
  const footer = (
    <>
      <Button onClick={onClose}>{t("Cancel")}</Button>
      <Button kind={preview ? "plain" : "main"} type="submit" form="new-rules" busy={isBusy}>{t("Show what would change")}</Button>
      {preview && <Button kind="main" busy={isBusy} onClick={() => void add()}>{t("Add the version")}</Button>}
    </>
  );
  return (
    <Dialog wide title={t("New version of the rules")} onClose={onClose} footer={footer}>
      <form id="new-rules" className="form" noValidate onSubmit={look}>
        <Field label={t("How a result is shared")} error={fieldError(error, "/model")}>
          {(own) => <select {...own} value={model} onChange={(event) => change(setModel)(event.target.value as AttributionModel)}>{MODELS.map((one) => <option key={one} value={one}>{modelName(one)}</option>)}</select>}
        </Field>
        {TOUCHES.map((one) => (
          <Field
            key={one}
            label={t("Hours {touch}", { touch: touchName(one) })}
            hint={one === "delivered" ? t("0 turns it off: it would claim results that come anyway.") : hours(Number(windows[one]) || 0)}
            error={wrong.includes(one) ? t("Write a number from 0 to 8,760.") : fieldError(error, `/windows/${one}`)}
          >
            {(own) => <input {...own} inputMode="numeric" value={windows[one]} onChange={(event) => change(setWindows)({ ...windows, [one]: event.target.value })} />}
          </Field>
        ))}
        <Refused error={error} />
      </form>
      {preview && <Preview found={preview} />}
    </Dialog>
  );
}

function Preview({ found }: { found: AttributionPreviewRead }) {
  const row = (name: string, one: ComparedCredits, key: string) => (
    <tr key={key} data-row={key}>
      <td>{name}</td>
      <td className="end">{count(one.current.people)}</td><td className="end">{cents(one.current.cents)}</td>
      <td className="end">{count(one.proposed.people)}</td><td className="end">{cents(one.proposed.cents)}</td>
      <td className="end">{cents(one.proposed.cents - one.current.cents)}</td>
    </tr>
  );
  return (
    <div role="status">
      <p className="notice" data-people={found.people} data-cents={found.cents}>
        {found.people === 0
          ? t("Nothing would change, of {n, plural, one {# result} other {# results}}.", { n: found.outcomes })
          : t("{people} and {cents} would move, of {n, plural, one {# result} other {# results}}.", { people: people(found.people), cents: cents(found.cents), n: found.outcomes })}
      </p>
      <div className="scroll-x" ref={scrolls}>
        <table className="table" aria-label={t("What would change")}>
          <thead>
            <tr><th rowSpan={2}>{t("Campaign")}</th><th colSpan={2}>{t("Rules {version}", { version: found.current_version })}</th><th colSpan={2}>{t("New rules")}</th><th rowSpan={2} className="end">{t("Difference")}</th></tr>
            <tr><th className="end">{t("People")}</th><th className="end">{t("Amount")}</th><th className="end">{t("People")}</th><th className="end">{t("Amount")}</th></tr>
          </thead>
          <tbody>
            {found.campaigns.map((one) => row(one.name ?? t("A deleted campaign"), one, one.campaign_id))}
            {row(t("All messages"), found.attributed, "attributed")}
            {row(t("No message"), found.unattributed, "unattributed")}
          </tbody>
        </table>
      </div>
    </div>
  );
}
