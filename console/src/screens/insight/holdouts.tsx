/** Holdouts: some people get no message, so that a comparison shows the effect of messages. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../../api/client";
import { listHoldouts, planHoldout, type HoldoutLiftRead, type HoldoutRead, type HoldoutScope } from "../../api/generated";
import { fieldError } from "../../api/problem";
import { count, currentZone, day, rate } from "../../format";
import { t } from "../../i18n";
import { may } from "../../session";
import { GroupChart, type Mark } from "../../ui/charts";
import { Dialog } from "../../ui/dialog";
import { Badge, Button, Empty, Failed, Field, Loading, scrolls } from "../../ui/parts";
import { dayIn, plusDays, useNow } from "./address";
import { Refused } from "./refused";
import { people, points } from "./words";

const scopeName = (scope: HoldoutScope): string => (scope === "cold" ? t("people who were not contacted before") : t("everybody"));

export function Holdouts() {
  const [isPlanning, setPlanning] = useState(false);
  const now = useNow();
  const query = useQuery({ queryKey: ["holdouts"], queryFn: () => data(listHoldouts({ query: { limit: 100 }, throwOnError: true })) });
  const plan = may("insight:write") && <Button kind="main" icon="plus" onClick={() => setPlanning(true)}>{t("Plan a holdout")}</Button>;
  return (
    <>
      <div className="filters insight-filters">
        <p className="faint">{t("A holdout sends no campaign message to a part of the people, to learn what the messages bring.")}</p>
        {query.data && query.data.data.length > 0 && <div className="page-actions">{plan}</div>}
      </div>
      {query.isPending && <Loading />}
      {query.isLoadingError && <Failed error={query.error} again={() => void query.refetch()} />}
      {query.isSuccess && query.data.data.length === 0 && (
        <Empty title={t("No holdout yet")} action={plan}>{t("Some appointments come without a message, too. Only a group without messages shows the difference.")}</Empty>
      )}
      {query.isSuccess && query.data.data.length > 0 && (
        <div className="sections">{query.data.data.map((one) => <Holdout key={one.id} one={one} now={now} />)}</div>
      )}
      {isPlanning && <Plan now={now} onClose={() => setPlanning(false)} />}
    </>
  );
}

function Holdout({ one, now }: { one: HoldoutRead; now: number }) {
  const [begins, ends] = [Date.parse(one.from), Date.parse(one.until)];
  const state = now < begins ? "planned" : now < ends ? "running" : "over";
  return (
    <section className="card holdout" data-holdout={one.id} aria-labelledby={`holdout-${one.id}`}>
      <div className="card-head">
        <h2 id={`holdout-${one.id}`}>{one.name}</h2>
        <Badge tone={state === "running" ? "good" : state === "planned" ? "info" : "neutral"}>{state === "running" ? t("Running") : state === "planned" ? t("Planned") : t("Over")}</Badge>
      </div>
      <dl className="facts card-body">
        <div><dt>{t("Held back")}</dt><dd>{t("{percent} of 100: {scope}", { percent: one.percent, scope: scopeName(one.scope) })}</dd></div>
        <div><dt>{t("Time")}</dt><dd>{t("{from} until {until}", { from: day(one.from), until: day(one.until) })}</dd></div>
        <div><dt>{t("Costs")}</dt><dd data-figure="cost_messages" data-value={one.cost_messages}>{t("{n, plural, one {# message that is not sent} other {# messages that are not sent}}", { n: one.cost_messages })}</dd></div>
        <div>
          <dt>{t("Will know on")}</dt>
          <dd data-figure="knows_at" data-value={one.knows_at ?? ""}>
            {one.knows_at ? day(one.knows_at) : t("not within ten years at the present pace")}{" "}
            <span className="faint">{t("{n} are needed in both groups together", { n: people(one.plan.needed_people) })}</span>
          </dd>
        </div>
      </dl>
      <div className="holdout-lifts">
        <Lift name={t("Appointments")} measure="appointments" lift={one.appointments} knowsAt={one.knows_at} isOver={state === "over"} />
        <Lift name={t("Jobs")} measure="jobs" lift={one.jobs} knowsAt={one.knows_at} isOver={state === "over"} />
      </div>
      <p className="insight-hint faint">{t("Everybody counts in the group that the number was put into, also if a message failed.")}</p>
    </section>
  );
}

type LiftProps = { name: string; measure: string; lift: HoldoutLiftRead; knowsAt: string | null; isOver: boolean };

function Lift({ name, measure, lift, knowsAt, isOver }: LiftProps) {
  const groups = [{ id: "messaged", name: t("With messages"), group: lift.messaged }, { id: "held", name: t("Without"), group: lift.held }];
  const real = (value: string | null) => (value === null ? null : Number(value));
  const marks: Mark[] = groups.map(({ id, name: title, group }) => ({
    id, name: title, value: real(group.rate), low: real(group.low), high: real(group.high), enough: lift.enough,
    text: `${title}: ${rate(group.rate)}, ${t("between {low} and {high}", { low: rate(group.low), high: rate(group.high) })}`,
  }));
  return (
    <div className="holdout-lift" data-lift={measure}>
      <h3>{name}</h3>
      {lift.difference === null ? (
        <p className="faint">{t("No person in both groups yet.")}</p>
      ) : (
        <>
          <p>
            <strong data-difference={lift.difference} data-low={lift.low} data-high={lift.high}>{t("{n} points", { n: points(lift.difference) })}</strong>{" "}
            <span className="faint">{t("between {low} and {high}", { low: points(lift.low!), high: points(lift.high!) })}</span>
          </p>
          <p className={lift.enough ? "notice notice-good" : "faint"}>
            {lift.enough ? t("Chance alone would rarely show this.") : isOver ? t("Not enough: it ended before it could know.") : knowsAt ? t("Not enough yet; probably on {date}.", { date: day(knowsAt) }) : t("Not enough yet.")}
          </p>
        </>
      )}
      <GroupChart marks={marks} label={name} shape="interval" format={(value) => rate(value)} />
      <div className="scroll-x" ref={scrolls}>
        <table className="table" aria-label={name}>
          <thead><tr><th>{t("Group")}</th><th className="end">{t("People")}</th><th className="end">{t("With a result")}</th><th className="end">{t("Rate")}</th></tr></thead>
          <tbody>
            {groups.map(({ id, name: title, group }) => (
              <tr key={id} data-row={id}><td>{title}</td><td className="end">{count(group.people)}</td><td className="end">{count(group.with_outcome)}</td><td className="end">{rate(group.rate)}</td></tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Plan({ now, onClose }: { now: number; onClose: () => void }) {
  const cache = useQueryClient();
  const today = dayIn(currentZone(), now);
  const [name, setName] = useState("");
  const [percent, setPercent] = useState("10");
  const [from, setFrom] = useState(today);
  const [until, setUntil] = useState(plusDays(today, 365));
  const [scope, setScope] = useState<HoldoutScope>("cold");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [made, setMade] = useState<HoldoutRead | null>(null);
  const isWrong = !/^\d{1,2}$/.test(percent) || Number(percent) < 1 || Number(percent) > 50;
  const [isTried, setTried] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (isWrong || !name.trim()) return;
    setBusy(true);
    setError(null);
    try {
      setMade(await data(planHoldout({ body: { name: name.trim(), percent: Number(percent), from, until, scope }, throwOnError: true })));
      await cache.invalidateQueries({ queryKey: ["holdouts"] });
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  if (made) {
    return (
      <Dialog title={t("The holdout is planned")} onClose={onClose} footer={<Button kind="main" onClick={onClose}>{t("Close")}</Button>}>
        <p>{t("It costs {n, plural, one {# message that is not sent} other {# messages that are not sent}} until {date}.", { n: made.cost_messages, date: day(made.until) })}</p>
        <p>{made.knows_at ? t("It will know on {date}, at the pace of the last 30 days.", { date: day(made.knows_at) }) : t("At the pace of the last 30 days it will not know within ten years. Send more, or hold back more people.")}</p>
      </Dialog>
    );
  }
  return (
    <Dialog title={t("Plan a holdout")} onClose={onClose} footer={<><Button onClick={onClose}>{t("Cancel")}</Button><Button kind="main" type="submit" form="plan-holdout" busy={isBusy}>{t("Plan")}</Button></>}>
      <form id="plan-holdout" className="form" noValidate onSubmit={(event) => void submit(event)}>
        <Field label={t("Name of the holdout")} error={isTried && !name.trim() ? t("Give it a name.") : fieldError(error, "/name")}>
          {(own) => <input {...own} value={name} maxLength={200} autoFocus onChange={(event) => setName(event.target.value)} />}
        </Field>
        <Field label={t("People of 100 who get no message")} hint={t("From 1 to 50.")} error={isTried && isWrong ? t("Write a number from 1 to 50.") : fieldError(error, "/percent")}>
          {(own) => <input {...own} inputMode="numeric" value={percent} onChange={(event) => setPercent(event.target.value)} />}
        </Field>
        <div className="form-pair">
          <Field label={t("First day (UTC)")} error={fieldError(error, "/from")}>{(own) => <input {...own} type="date" value={from} onChange={(event) => setFrom(event.target.value)} />}</Field>
          <Field label={t("Ends before (UTC)")} error={fieldError(error, "/until")}>{(own) => <input {...own} type="date" value={until} onChange={(event) => setUntil(event.target.value)} />}</Field>
        </div>
        <Field label={t("Whose first messages are held back")}>
          {(own) => (
            <select {...own} value={scope} onChange={(event) => setScope(event.target.value as HoldoutScope)}>
              {(["cold", "all"] as const).map((one) => <option key={one} value={one}>{scopeName(one)}</option>)}
            </select>
          )}
        </Field>
        <Refused error={error} />
        <p className="faint">{t("One holdout runs at a time. A planned one cannot be changed.")}</p>
      </form>
    </Dialog>
  );
}
