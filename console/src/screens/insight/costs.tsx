/** The costs that users entered, with a dialog to enter one. Message costs are not in the list. */
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { deleteCost, enterCost, listCosts, type CostKind, type CostRead } from "../../api/generated";
import { fieldError } from "../../api/problem";
import { t } from "../../i18n";
import { may } from "../../session";
import { Dialog } from "../../ui/dialog";
import { Button, Failed, Field, Loading, scrolls, Time } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { useNames } from "./filters";
import { Refused } from "./refused";
import { cents, costName } from "./words";

const KINDS: CostKind[] = ["list_price", "labour", "other"];

export function useCostsChanged() {
  const cache = useQueryClient();
  return () => Promise.all([cache.invalidateQueries({ queryKey: ["costs"] }), cache.invalidateQueries({ queryKey: ["insight"] })]);
}

export function Costs() {
  const [isAdding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<CostRead | null>(null);
  const names = useNames();
  const query = useInfiniteQuery({
    queryKey: ["costs"],
    initialPageParam: "",
    queryFn: ({ pageParam }) => data(listCosts({ query: { limit: 50, ...(pageParam ? { cursor: pageParam } : {}) }, throwOnError: true })),
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const all = query.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className="card" aria-labelledby="costs-title">
      <div className="card-head">
        <h2 id="costs-title">{t("Entered costs")}</h2>
        {may("insight:write") && <Button icon="plus" onClick={() => setAdding(true)}>{t("Add a cost")}</Button>}
      </div>
      {query.isPending && <Loading lines={2} />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {query.isSuccess && all.length === 0 && <p className="card-body faint">{t("No cost was entered. Messages count one cent for each segment by themselves.")}</p>}
      {all.length > 0 && (
        <div className="scroll-x" ref={scrolls}>
          <table className="table" aria-label={t("Entered costs")}>
            <thead><tr><th>{t("When")}</th><th>{t("What")}</th><th className="end">{t("Amount")}</th><th>{t("For")}</th><th>{t("Note")}</th><th><span className="hidden">{t("Actions")}</span></th></tr></thead>
            <tbody>
              {all.map((one) => (
                <tr key={one.id}>
                  <td><Time at={one.incurred_at} /></td>
                  <td>{costName(one.kind)}</td>
                  <td className="end">{cents(one.amount_cents)}</td>
                  <td>{one.campaign_id ? (names.campaigns.get(one.campaign_id) ?? t("Campaign")) : one.list_id ? (names.lists.get(one.list_id) ?? t("List")) : t("Everything")}</td>
                  <td>{one.note}</td>
                  <td className="end">{may("insight:write") && <Button kind="quiet" aria-label={t("Remove the cost {cost}", { cost: `${costName(one.kind)} ${cents(one.amount_cents)}` })} onClick={() => setRemoving(one)}>{t("Remove")}</Button>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {query.hasNextPage && <p className="insight-hint"><Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>{t("Show more")}</Button></p>}
      {isAdding && <AddCost onClose={() => setAdding(false)} />}
      {removing && <RemoveCost cost={removing} onClose={() => setRemoving(null)} />}
    </section>
  );
}

/** Convert an amount such as "1,234.50" to cents. Return null if it is not an amount above zero. */
export function centsOf(text: string): number | null {
  const plain = text.trim().replace(/^\$\s*/, "").replaceAll(",", "");
  if (!/^\d{1,10}(\.\d{1,2})?$/.test(plain)) return null;
  const [whole, part = ""] = plain.split(".");
  const found = Number(whole) * 100 + Number(part.padEnd(2, "0"));
  return found > 0 ? found : null;
}

function AddCost({ onClose }: { onClose: () => void }) {
  const changed = useCostsChanged();
  const names = useNames();
  const [kind, setKind] = useState<CostKind>("list_price");
  const [amount, setAmount] = useState("");
  const [day, setDay] = useState("");
  const [of, setOf] = useState("");
  const [note, setNote] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [isWrong, setWrong] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const amount_cents = centsOf(amount);
    setWrong(amount_cents === null);
    if (amount_cents === null) return;
    setBusy(true);
    setError(null);
    const [target, id] = of.split(":");
    const body = {
      kind, amount_cents, ...(note.trim() ? { note: note.trim() } : {}),
      ...(day ? { incurred_at: new Date(`${day}T12:00:00`).toISOString() } : {}),
      ...(target === "campaign" ? { campaign_id: id! } : {}), ...(target === "list" ? { list_id: id! } : {}),
    };
    try {
      await enterCost({ body, throwOnError: true });
      await changed();
      say(t("The cost was added."));
      onClose();
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("Add a cost")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="main" type="submit" form="add-cost" busy={isBusy}>{t("Add")}</Button></>}>
      <form id="add-cost" className="form" onSubmit={(event) => void submit(event)} noValidate>
        <Field label={t("What was paid for")}>
          {(own) => <select {...own} value={kind} onChange={(event) => setKind(event.target.value as CostKind)}>{KINDS.map((one) => <option key={one} value={one}>{costName(one)}</option>)}</select>}
        </Field>
        <Field label={t("Amount in dollars")} error={isWrong ? t("Write an amount above zero, such as 480.00.") : fieldError(error, "/amount_cents")}>
          {(own) => <input {...own} inputMode="decimal" value={amount} onChange={(event) => setAmount(event.target.value)} autoFocus />}
        </Field>
        <Field label={t("Paid on")} hint={t("Empty: now.")} error={fieldError(error, "/incurred_at")}>
          {(own) => <input {...own} type="date" value={day} onChange={(event) => setDay(event.target.value)} />}
        </Field>
        <Field label={t("For")} error={fieldError(error, "/campaign_id") ?? fieldError(error, "/list_id")}>
          {(own) => (
            <select {...own} value={of} onChange={(event) => setOf(event.target.value)}>
              <option value="">{t("Everything")}</option>
              {names.campaigns.size > 0 && <optgroup label={t("Campaigns")}>{[...names.campaigns].map(([id, name]) => <option key={id} value={`campaign:${id}`}>{name}</option>)}</optgroup>}
              {names.lists.size > 0 && <optgroup label={t("Lists")}>{[...names.lists].map(([id, name]) => <option key={id} value={`list:${id}`}>{name}</option>)}</optgroup>}
            </select>
          )}
        </Field>
        <Field label={t("Note")} error={fieldError(error, "/note")}>
          {(own) => <input {...own} value={note} maxLength={200} onChange={(event) => setNote(event.target.value)} />}
        </Field>
        <Refused error={error} />
      </form>
    </Dialog>
  );
}

function RemoveCost({ cost, onClose }: { cost: CostRead; onClose: () => void }) {
  const changed = useCostsChanged();
  const [isBusy, setBusy] = useState(false);
  const remove = async () => {
    setBusy(true);
    try {
      await deleteCost({ path: { cost_id: cost.id }, throwOnError: true });
      await changed();
      onClose();
    } catch (error) {
      fail(error);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("Remove this cost?")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="danger" busy={isBusy} onClick={() => void remove()}>{t("Remove")}</Button></>}>
      <p>{costName(cost.kind)}, {cents(cost.amount_cents)}{cost.note ? `, ${cost.note}` : ""}</p>
      <p className="faint">{t("Figures are computed without it from then on.")}</p>
    </Dialog>
  );
}
