/** Merge of two contacts of one person, with a choice for each field, a dry run and an undo. */
import { Link, useNavigate } from "@tanstack/react-router";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../api/client";
import {
  dismissCandidate, getContact, listCandidates, listContacts, listMerges, mergeContacts, undoMerge, updateContact,
  type ContactRead, type ContactUpdate,
} from "../api/generated";
import { sentenceOf } from "../api/problem";
import { personName, phone } from "../format";
import { t } from "../i18n";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Failed, Loading, Time, scrolls } from "../ui/parts";
import { Search } from "../ui/search";
import { fail, say } from "../ui/toasts";
import { mergeReason } from "../ui/code-names";

type Side = "left" | "right";
const PLAIN = ["first_name", "last_name", "email", "company", "timezone"] as const;
const ADDRESS = ["street", "city", "state", "postal_code"] as const;
type FieldKey = (typeof PLAIN)[number] | (typeof ADDRESS)[number];
const isAddress = (key: FieldKey): key is (typeof ADDRESS)[number] => ADDRESS.includes(key as "city");

function fields(): [FieldKey, string][] {
  return [
    ["first_name", t("First name")], ["last_name", t("Last name")], ["email", t("E-mail")], ["company", t("Company")], ["street", t("Street")],
    ["city", t("City")], ["state", t("State")], ["postal_code", t("ZIP code")], ["timezone", t("Time zone")],
  ];
}

function valueOf(one: ContactRead, key: FieldKey): string | null {
  return isAddress(key) ? one.address[key] : one[key];
}

function updateOf(values: [FieldKey, string | null][]): ContactUpdate {
  const address = Object.fromEntries(values.filter(([key]) => isAddress(key)));
  const others = Object.fromEntries(values.filter(([key]) => !isAddress(key)));
  return { ...others, ...(Object.keys(address).length ? { address } : {}) };
}

/** Let the user choose the second contact: from the likely duplicates, or by a search. */
function ChooseOther({ contact, onChoose }: { contact: ContactRead; onChoose: (id: string) => void }) {
  const cache = useQueryClient();
  const [text, setText] = useState("");
  const candidates = useQuery({
    queryKey: ["merge-candidates", contact.id],
    queryFn: () => data(listCandidates({ query: { contact_id: contact.id, limit: 10 }, throwOnError: true })),
  });
  const found = useQuery({
    queryKey: ["contacts", "find", text],
    enabled: text.length > 1,
    queryFn: ({ signal }) => data(listContacts({ query: { q: text, limit: 8 }, signal, throwOnError: true })),
  });
  const dismiss = useMutation({
    mutationFn: (id: string) => dismissCandidate({ path: { candidate_id: id }, throwOnError: true }),
    onSuccess: () => (say(t("They stay two people. The pair is not suggested again.")), void cache.invalidateQueries({ queryKey: ["merge-candidates", contact.id] })),
    onError: fail,
  });
  const other = (pair: ContactRead[]) => pair.find((one) => one.id !== contact.id);
  return (
    <>
      {candidates.data?.data.map((one) => {
        const person = other(one.contacts);
        return person ? (
          <p key={one.id} className="candidate">
            <button type="button" className="link" onClick={() => onChoose(person.id)}>{personName(person)}</button>
            <span className="faint number">{phone(person.phone)}</span>
            {one.reasons.map((reason) => <Badge key={reason.reason} tone="info">{mergeReason(reason.reason)}</Badge>)}
            <button type="button" className="link" disabled={dismiss.isPending} onClick={() => dismiss.mutate(one.id)}>{t("Two people")}</button>
          </p>
        ) : null;
      })}
      <Search label={t("Find the other contact")} value={text} onChange={setText} />
      {found.isError && <p className="field-error" role="alert">{sentenceOf(found.error)}</p>}
      <ul className="segment-sample">
        {found.data?.data.filter((one) => one.id !== contact.id).map((one) => (
          <li key={one.id}>
            <button type="button" className="link" onClick={() => onChoose(one.id)}>{personName(one)}</button>
            <span className="faint number">{phone(one.phone)}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

export function MergeDialog({ contact, otherId, onClose }: { contact: ContactRead; otherId: string | null; onClose: () => void }) {
  const [chosen, setChosen] = useState(otherId);
  const other = useQuery({
    queryKey: ["contact", chosen],
    enabled: chosen !== null,
    queryFn: () => data(getContact({ path: { contact_id: chosen! }, throwOnError: true })),
  });
  if (other.data && other.data.id !== contact.id) return <Compare left={contact} right={other.data} onClose={onClose} />;
  return (
    <Dialog title={t("Merge {name} with another contact", { name: personName(contact) })} onClose={onClose} wide>
      {other.data && <p className="notice notice-warn" role="alert">{t("Both are the same contact already. Choose another one.")}</p>}
      {other.isLoadingError && <Failed error={other.error} />}
      {chosen && other.isPending ? <Loading lines={4} /> : <ChooseOther contact={contact} onChoose={setChosen} />}
    </Dialog>
  );
}

function Compare({ left, right, onClose }: { left: ContactRead; right: ContactRead; onClose: () => void }) {
  const navigate = useNavigate();
  const cache = useQueryClient();
  const [stays, setStays] = useState<Side>("left");
  const [picked, setPicked] = useState<Partial<Record<FieldKey, Side>>>({});
  const [primary, duplicate] = stays === "left" ? [left, right] : [right, left];
  const body = { primary_id: primary.id, duplicate_ids: [duplicate.id] };
  const tried = useQuery({
    queryKey: ["merge", primary.id, duplicate.id],
    staleTime: 0,
    retry: false,
    queryFn: () => data(mergeContacts({ body: { ...body, dry_run: true }, throwOnError: true })),
  });
  // If the user has chosen no side, the API decides. For example, it never mixes two addresses.
  const sideOf = (key: FieldKey): Side => {
    const isPrimary = !tried.data || valueOf(tried.data, key) === valueOf(primary, key);
    return picked[key] ?? (isPrimary === (stays === "left") ? "left" : "right");
  };
  const merge = useMutation({
    mutationFn: async () => {
      const made = await data(mergeContacts({ body: { ...body, token: tried.data?.token ?? null }, throwOnError: true }));
      const chosen = Object.entries(picked).map(([key, side]) => [key, valueOf(side === "left" ? left : right, key as FieldKey)] as [FieldKey, string | null]);
      const changed = chosen.filter(([key, value]) => valueOf(made, key) !== value);
      if (changed.length) await updateContact({ path: { contact_id: primary.id }, body: updateOf(changed), throwOnError: true });
      return { id: made.merge_id, changed: changed.map(([key]) => key) };
    },
    onSuccess: async ({ id, changed }) => {
      const undo = async () => {
        if (!id) return;
        await undoMerge({ path: { merge_id: id }, throwOnError: true });
        if (changed.length) await updateContact({ path: { contact_id: primary.id }, body: updateOf(changed.map((key) => [key, valueOf(primary, key)])), throwOnError: true });
        say(t("They are two contacts again."));
        void cache.invalidateQueries();
      };
      say(t("The two contacts are one now."), { undo: () => void undo().catch(fail) });
      onClose();
      await navigate({ to: "/contacts/$id", params: { id: primary.id }, search: {}, replace: true });
      void cache.invalidateQueries();
    },
    onError: () => void tried.refetch(),
  });
  const tags = [...new Set([...primary.tags, ...duplicate.tags])];
  const number = (side: Side, one: ContactRead) => (
    <label className="merge-choice">
      <input type="radio" name="stays" checked={stays === side} onChange={() => setStays(side)} />
      <span><b>{personName(one)}</b> <span className="number">{phone(one.phone)}</span> <span className="faint">{t("added")} <Time at={one.created_at} relative /></span></span>
    </label>
  );
  return (
    <Dialog
      title={t("Merge two contacts")}
      onClose={onClose}
      wide
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" busy={merge.isPending} disabled={!tried.data} onClick={() => merge.mutate()}>{t("Merge")}</Button>
        </>
      }
    >
      {(merge.error ?? tried.error) && <p className="notice notice-bad" role="alert">{sentenceOf(merge.error ?? tried.error)}</p>}
      <div className="scroll-x" ref={scrolls}>
        <table className="table merge">
          <caption className="hidden">{t("The value that stays, field by field")}</caption>
          <thead>
            <tr>
              <th scope="col">{t("Stays, with its number")}</th>
              <td>{number("left", left)}</td>
              <td>{number("right", right)}</td>
            </tr>
          </thead>
          <tbody>
            {fields().filter(([key]) => valueOf(left, key) || valueOf(right, key)).map(([key, label]) => (
              <tr key={key}>
                <th scope="row">{label}</th>
                {(["left", "right"] as const).map((side) => {
                  const value = valueOf(side === "left" ? left : right, key);
                  return (
                    <td key={side}>
                      <label className="merge-choice">
                        <input type="radio" name={key} checked={sideOf(key) === side} onChange={() => setPicked({ ...picked, [key]: side })} />
                        <span>{value ?? <span className="faint">{t("empty")}</span>}</span>
                      </label>
                    </td>
                  );
                })}
              </tr>
            ))}
            <tr>
              <th scope="row">{t("Tags")}</th>
              <td colSpan={2}>{tags.length ? tags.map((tag) => <Badge key={tag}>{tag}</Badge>) : "–"}</td>
            </tr>
          </tbody>
        </table>
      </div>
      <ul className="merge-moves">
        <li>{t("Messages, calls, notes, tasks, appointments, quotes and properties of {name} move to the contact that stays.", { name: personName(duplicate) })}</li>
        <li>{t("{phone} then leads to the contact that stays. Campaigns send only to {other}.", { phone: phone(duplicate.phone), other: phone(primary.phone) })}</li>
        <li>{primary.opted_out || duplicate.opted_out ? t("One of the numbers is opted out: after the merge both are.") : t("The strictest consent of both numbers counts for both. An undo does not loosen it.")}</li>
        {tried.data && <li data-part="merged" data-value={tried.data.counts?.merged ?? 0}>{t("{n, plural, one {# contact} other {# contacts}} would be merged. You can undo it.", { n: Number(tried.data.counts?.merged ?? 0) })}</li>}
      </ul>
    </Dialog>
  );
}

/** Show the earlier merges of a contact, each with a button that undoes it. */
export function Merges({ id }: { id: string }) {
  const cache = useQueryClient();
  const found = useQuery({
    queryKey: ["merges", id],
    queryFn: () => data(listMerges({ query: { contact_id: id, limit: 20 }, throwOnError: true })),
  });
  const undo = useMutation({
    mutationFn: (merge: string) => data(undoMerge({ path: { merge_id: merge }, throwOnError: true })),
    onSuccess: () => (say(t("They are two contacts again.")), void cache.invalidateQueries()),
    onError: fail,
  });
  if (!found.data?.data.length) return null;
  return (
    <section className="side-part" aria-labelledby="merges-title">
      <h2 id="merges-title">{t("Merged")}</h2>
      <ul className="sales">
        {found.data.data.map((one) => (
          <li key={one.id}>
            <span>{t("{n, plural, one {# other contact} other {# other contacts}}", { n: one.duplicate_ids.length })}</span>
            {one.undone_at ? <Badge tone="warn">{t("Undone")}</Badge> : one.can_be_undone && may("contacts:write") && (
              <button type="button" className="link" disabled={undo.isPending} onClick={() => undo.mutate(one.id)}>{t("Undo the merge")}</button>
            )}
            <span className="faint"><Time at={one.merged_at} /> · {one.merged_by}</span>
            {one.duplicate_ids.filter((other) => one.undone_at && other !== id).map((other) => (
              <Link key={other} to="/contacts/$id" params={{ id: other }} className="link">{t("Open the other contact")}</Link>
            ))}
          </li>
        ))}
      </ul>
    </section>
  );
}
