/** The screen of one contact: timeline, fields, consent and tasks. */
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { data } from "../api/client";
import {
  addFlag, addNote, createTask, getContact, getTimeline, listFlags, listPropertiesOfContact, listTasks, removeFlag, updateTask,
  type AppointmentKind, type AppointmentStatus, type ContactRead, type OutcomeKind, type TimelineItem,
} from "../api/generated";
import { fieldError } from "../api/problem";
import { now } from "../clock";
import { dollars, personName, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { billStatus, callStatus, consentName, consentSource, flagName, lineType, originName } from "../ui/code-names";
import { Icon, type IconName } from "../ui/icons";
import { Folded } from "../ui/folded";
import { useKeyset } from "../ui/keyset";
import { Badge, Button, Failed, Field, Loading, PageHead, Time } from "../ui/parts";
import { reason } from "../ui/reasons";
import { appointmentKind, appointmentStatus, outcomeKind } from "../ui/sales-words";
import { fail } from "../ui/toasts";
import { messageStatus, plain, recipientStatus, RECIPIENT_TONE } from "../ui/words";
import { Consent, ConsentDialog } from "./contact-consent";
import { EditDialog } from "./contact-edit";
import { MergeDialog, Merges } from "./contact-merge";
import { useRefresh } from "./contact-refresh";
import { Engagement, Sales } from "./contact-sales";
import "./contact.css";
import { Actor } from "../ui/actor";

export function Contact() {
  const { id } = useParams({ from: "/shell/contacts/$id" });
  const contact = useQuery({
    queryKey: ["contact", id],
    queryFn: () => data(getContact({ path: { contact_id: id }, throwOnError: true })),
  });
  const back = (
    <Link to="/contacts" className="back" aria-label={t("Back to the contacts")}>
      <Icon name="left" />
    </Link>
  );
  if (contact.isError && !contact.data) {
    return (
      <>
        <PageHead title={t("Contact")} before={back} />
        <Failed error={contact.error} again={() => void contact.refetch()} />
      </>
    );
  }
  if (!contact.data) {
    return (
      <>
        <PageHead title={t("Contact")} before={back} />
        <Loading />
      </>
    );
  }
  return <Person contact={contact.data} back={back} />;
}

function Person({ contact, back }: { contact: ContactRead; back: React.ReactNode }) {
  const [dialog, setDialog] = useState<"consent" | "edit" | null>(null);
  const { merge } = useSearch({ from: "/shell/contacts/$id" });
  const navigate = useNavigate({ from: "/contacts/$id" });
  const openMerge = (other: string | undefined) => void navigate({ search: other ? { merge: other } : {}, replace: true });
  return (
    <>
      <PageHead
        title={personName(contact)}
        before={back}
        actions={
          may("contacts:write") && (
            <>
              <Button onClick={() => setDialog("edit")}>{t("Edit")}</Button>
              <Button onClick={() => openMerge("choose")}>{t("Merge")}</Button>
              <Button kind={contact.opted_out ? "plain" : "danger"} onClick={() => setDialog("consent")}>
                {contact.opted_out || contact.flags.includes("opt_out_hold") ? t("Change consent") : t("Opt out")}
              </Button>
            </>
          )
        }
      >
        <span className="faint number">{phone(contact.phone)}</span>
        {contact.opted_out && <Badge tone="bad">{t("Opted out")}</Badge>}
        {contact.flags.filter((flag) => flag !== "opted_out").map((flag) => (
          <Badge key={flag} tone="warn">{flagName(flag)}</Badge>
        ))}
      </PageHead>
      <div className="contact">
        <section className="contact-main" aria-labelledby="timeline-title">
          <h2 id="timeline-title" className="hidden">{t("Timeline")}</h2>
          {may("contacts:write") && <NoteForm id={contact.id} />}
          <p className="faint">{t("The newest is on top.")}</p>
          <Timeline id={contact.id} />
        </section>
        <div className="contact-side">
          <Facts contact={contact} />
          <Tasks id={contact.id} />
          <FlagsOf id={contact.id} />
          <Sales id={contact.id} />
          <Engagement id={contact.id} />
          <Properties id={contact.id} />
          <Consent id={contact.id} />
          <Merges id={contact.id} />
        </div>
      </div>
      {dialog === "consent" && <ConsentDialog contact={contact} onClose={() => setDialog(null)} />}
      {merge && may("contacts:write") && <MergeDialog key={merge} contact={contact} otherId={merge === "choose" ? null : merge} onClose={() => openMerge(undefined)} />}
      {dialog === "edit" && <EditDialog contact={contact} onClose={() => setDialog(null)} />}
    </>
  );
}

function NoteForm({ id }: { id: string }) {
  const [text, setText] = useState("");
  const refresh = useRefresh(id);
  const add = useMutation({
    mutationFn: () => data(addNote({ path: { contact_id: id }, body: { body: text }, throwOnError: true })),
    onSuccess: () => (setText(""), refresh()),
    onError: fail,
  });
  return (
    <form className="note-form" onSubmit={(event) => (event.preventDefault(), add.mutate())}>
      <textarea aria-label={t("Note")} placeholder={t("Add a note. It is never sent.")} rows={2} value={text} onChange={(event) => setText(event.target.value)} />
      <Button type="submit" busy={add.isPending} disabled={!text.trim()}>
        {t("Add note")}
      </Button>
    </form>
  );
}

function Timeline({ id }: { id: string }) {
  const list = useKeyset<TimelineItem>(["timeline", id], (cursor) =>
    data(getTimeline({ path: { contact_id: id }, query: { limit: 100, ...(cursor ? { cursor } : {}) }, throwOnError: true })) as never,
  );
  const { query } = list;
  if (query.isPending) return <Loading lines={8} />;
  if (query.isLoadingError) return <Failed error={query.error} again={() => void query.refetch()} />;
  const items = query.data.pages.flatMap((page) => page.data);
  if (!items.length) return <p className="contact-none">{t("Nothing has happened yet. Messages, calls and notes appear here.")}</p>;
  return (
    <>
      <ol className="timeline">
        {items.map((item) => (
          <li key={`${item.type}-${item.id}`}>
            <Moment item={item} />
          </li>
        ))}
      </ol>
      {query.hasNextPage && (
        <Button busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          {t("Show earlier")}
        </Button>
      )}
    </>
  );
}

function Moment({ item }: { item: TimelineItem }) {
  switch (item.type) {
    case "message": {
      const isIn = item.direction === "incoming";
      return (
        <div className={`bubble-line ${isIn ? "bubble-in" : "bubble-out"}`}>
          <p className="bubble">{item.body ?? t("A message without text")}</p>
          <p className="bubble-foot">
            <Time at={item.at} />
            {!isIn && (
              <span className={item.status === "failed" || item.status === "undelivered" ? "bubble-bad" : undefined}>
                {messageStatus(item.status)}
              </span>
            )}
            {item.origin !== "manual" && !isIn && <span>{originName(item.origin)}</span>}
          </p>
        </div>
      );
    }
    case "call":
      return <Line icon="phone" at={item.at} text={`${item.direction === "incoming" ? t("Incoming call") : t("Outgoing call")} · ${callStatus(item.status)}`} />;
    case "note":
      return (
        <div className="note">
          <p>{item.body}</p>
          <p className="bubble-foot">
            <Icon name="note" size={13} /> <Actor who={item.author} /> <Time at={item.at} />
          </p>
        </div>
      );
    case "campaign_step":
      return (
        <Line icon="campaigns" at={item.at}>
          <Link to="/campaigns/$id" params={{ id: item.campaign_id }} search={{}}>{item.campaign_name}</Link>
          <Badge tone={RECIPIENT_TONE[item.status]}>{recipientStatus(item.status)}</Badge>
          {item.skip_reason && <span>{reason(item.skip_reason)}</span>}
        </Line>
      );
    case "appointment":
      return <Line icon="calendar" at={item.at} text={`${appointmentKind(item.kind as AppointmentKind)} · ${appointmentStatus(item.status as AppointmentStatus)}`} />;
    case "quote":
    case "invoice":
      return <Line icon="insight" at={item.at} text={`${item.number} · ${dollars(item.amount_cents / 100)} · ${billStatus(item.status)}`} />;
    case "outcome": {
      const amount = item.amount_cents === null ? "" : ` · ${dollars(item.amount_cents / 100)}`;
      return <Line icon="check" at={item.at} text={`${item.name ?? outcomeKind(item.kind as OutcomeKind)}${amount}`} />;
    }
    default:
      return (
        <Line
          icon="flag"
          at={item.at}
          text={`${consentName(item.type)} · ${consentSource(item.source)}${item.reason ? ` · ${item.reason}` : ""}`}
        />
      );
  }
}

function Line({ icon, at, text, children }: { icon: IconName; at: string; text?: string; children?: React.ReactNode }) {
  return (
    <div className="moment">
      <Icon name={icon} />
      {text && <span>{text}</span>}
      {children}
      <Time at={at} />
    </div>
  );
}

function Facts({ contact }: { contact: ContactRead }) {
  const { address } = contact;
  const facts: [string, React.ReactNode][] = [
    [t("Phone"), <span className="number">{phone(contact.phone)}{contact.line_type ? ` · ${lineType(contact.line_type)}` : ""}</span>],
    [t("E-mail"), contact.email],
    [t("Company"), contact.company],
    [t("Address"), [address.street, address.city, [address.state, address.postal_code].filter(Boolean).join(" ")].filter(Boolean).join(", ")],
    [t("Time zone"), contact.timezone],
    [t("Tags"), contact.tags.length ? contact.tags.map((tag) => <Badge key={tag}>{tag}</Badge>) : null],
  ];
  const more = Object.entries(contact.attributes ?? {});
  return (
    <section className="side-part" aria-labelledby="facts-title">
      <h2 id="facts-title">{t("Details")}</h2>
      <dl className="facts">
        {facts.filter(([, value]) => value).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {more.length > 0 && (
        <details>
          <summary>{t("{n, plural, one {# more field} other {# more fields}}", { n: more.length })}</summary>
          <dl className="facts">
            {more.map(([name, value]) => (
              <div key={name}>
                <dt>{plain(name)}</dt>
                <dd>{String(value)}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
    </section>
  );
}

function Tasks({ id }: { id: string }) {
  const refresh = useRefresh(id);
  const [isAdding, setAdding] = useState(false);
  const tasks = useQuery({
    queryKey: ["tasks", id],
    queryFn: () => data(listTasks({ query: { contact_id: id, status: "open", limit: 50 }, throwOnError: true })),
  });
  const done = useMutation({
    mutationFn: (task: string) => data(updateTask({ path: { task_id: task }, body: { done_at: new Date(now()).toISOString() }, throwOnError: true })),
    onSuccess: () => refresh("tasks"),
    onError: fail,
  });
  const add = useMutation({
    mutationFn: ({ title, due }: { title: string; due: string }) =>
      data(createTask({ body: { title, due_at: new Date(due).toISOString(), contact_id: id }, throwOnError: true })),
    onSuccess: () => (setAdding(false), refresh("tasks")),
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    add.mutate({ title: String(form.get("title")), due: String(form.get("due")) });
  };
  return (
    <section className="side-part" aria-labelledby="tasks-title">
      <header>
        <h2 id="tasks-title">{t("Tasks")}</h2>
        {may("contacts:write") && !isAdding && (
          <button type="button" className="icon-button" aria-label={t("Add a task")} onClick={() => setAdding(true)}>
            <Icon name="plus" />
          </button>
        )}
      </header>
      {tasks.data?.data.map((task) => (
        <label key={task.id} className="task">
          <input type="checkbox" onChange={() => done.mutate(task.id)} disabled={done.isPending || !may("contacts:write")} />
          <span>{task.title}</span>
          <span className={task.overdue ? "task-late" : "faint"}>
            <Time at={task.due_at} />
          </span>
        </label>
      ))}
      {tasks.data?.data.length === 0 && !isAdding && <p className="faint">{t("No open task.")}</p>}
      {isAdding && (
        <form className="form" onSubmit={submit}>
          <Field label={t("What is to do")} error={fieldError(add.error, "/title")}>
            {(attributes) => <input {...attributes} name="title" required autoFocus />}
          </Field>
          <Field label={t("Due")} error={fieldError(add.error, "/due_at")}>
            {(attributes) => <input {...attributes} name="due" type="datetime-local" required />}
          </Field>
          <div className="form-end">
            <Button onClick={() => setAdding(false)}>{t("Cancel")}</Button>
            <Button kind="main" type="submit" busy={add.isPending}>{t("Add task")}</Button>
          </div>
        </form>
      )}
    </section>
  );
}

function FlagsOf({ id }: { id: string }) {
  const refresh = useRefresh(id);
  const flags = useQuery({
    queryKey: ["flags", id],
    queryFn: () => data(listFlags({ path: { contact_id: id }, query: { limit: 100 }, throwOnError: true })),
  });
  const change = useMutation({
    mutationFn: async ({ add, remove }: { add?: string; remove?: string }) => {
      if (add) await addFlag({ path: { contact_id: id }, body: { flag: add }, throwOnError: true });
      if (remove) await removeFlag({ path: { contact_id: id, flag: remove }, throwOnError: true });
    },
    onSuccess: () => refresh("flags"),
    onError: fail,
  });
  const known = new Set(flags.data?.data.map((one) => one.flag));
  const offered = ["do_not_contact", "office_number"].filter((one) => !known.has(one));
  return (
    <section className="side-part" aria-labelledby="flags-title">
      <h2 id="flags-title">{t("Flags")}</h2>
      {flags.data?.data.length === 0 && <p className="faint">{t("No flag stops messages to this number.")}</p>}
      <ul>
        {flags.data?.data.map((one) => (
          <li key={one.flag} className="flag">
            <Badge tone={one.flag === "opted_out" ? "bad" : "warn"}>{flagName(one.flag)}</Badge>
            <Folded text={one.reason ?? ""} />
            {may("contacts:write") && !["opted_out", "opt_out_hold"].includes(one.flag) && (
              <button type="button" className="icon-button" aria-label={t("Remove the flag {flag}", { flag: flagName(one.flag) })} onClick={() => change.mutate({ remove: one.flag })}>
                <Icon name="close" size={13} />
              </button>
            )}
          </li>
        ))}
      </ul>
      {may("contacts:write") && (
        <p className="flag-add">
          {offered.map((flag) => (
            <button key={flag} type="button" className="link" disabled={change.isPending} onClick={() => change.mutate({ add: flag })}>
              {t("Mark: {flag}", { flag: flagName(flag) })}
            </button>
          ))}
        </p>
      )}
    </section>
  );
}

function Properties({ id }: { id: string }) {
  const found = useQuery({
    queryKey: ["properties", id],
    queryFn: () => data(listPropertiesOfContact({ path: { contact_id: id }, query: { limit: 20 }, throwOnError: true })),
  });
  if (!found.data?.data.length) return null;
  return (
    <section className="side-part" aria-labelledby="properties-title">
      <h2 id="properties-title">{t("Properties")}</h2>
      {found.data.data.map((one) => (
        <p key={one.id}>
          {[one.address.street, one.address.city].filter(Boolean).join(", ")}
          <span className="faint"> {[one.property_type, one.year_built && t("built {year}", { year: String(one.year_built) })].filter(Boolean).join(" · ")}</span>
        </p>
      ))}
    </section>
  );
}
