/**
 * Saving a form without overwriting the changes of other people: only the fields that the user
 * changed are sent, with the ETag of the version that the user has seen.
 */
import { useMutation } from "@tanstack/react-query";
import { Fragment, useState, type ReactNode } from "react";
import { t } from "../i18n";
import { ifMatch, tagOf } from "./client";
import { ApiProblem } from "./problem";

/** The values of a form for one version of a resource, and the ETag of this version. */
export type Version<Fields> = { fields: Fields; tag: string | undefined };

export function versionOf<Resource extends object, Fields>(one: Resource, fieldsOf: (one: Resource) => Fields): Version<Fields> {
  return { fields: fieldsOf(one), tag: tagOf(one) };
}

/**
 * Return the version from which the user started, with the newest ETag if the values of the form
 * are still the same. So the save of another form of the same resource is not a conflict.
 */
export function baseOf<Resource extends object, Fields>(opened: Resource, now: Resource, fieldsOf: (one: Resource) => Fields): Version<Fields> {
  const [base, newest] = [versionOf(opened, fieldsOf), versionOf(now, fieldsOf)];
  return isSame(base.fields, newest.fields) ? newest : base;
}

/** The error if somebody else has changed the same fields. `now` is the current version. */
class ChangedMeanwhile<Fields> extends Error {
  constructor(readonly now: Version<Fields>) {
    super(t("Somebody else has changed this meanwhile."));
  }
}

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

type Form<Fields, Saved> = {
  /** The version from which the user started. */
  base: Version<Fields>;
  read: () => Promise<Version<Fields>>;
  write: (changes: Partial<Fields>, headers: { "If-Match"?: string }) => Promise<Saved>;
  /** It gets null if the user has changed nothing. */
  onSaved: (saved: Saved | null) => unknown;
};

/**
 * Return a mutation that saves the values of a form. `conflict` is the current version if somebody
 * else has changed the same fields. The next attempt then replaces their change.
 */
export function useSaveChanges<Fields extends Record<string, unknown>, Saved>({ base, read, write, onSaved }: Form<Fields, Saved>) {
  const [conflict, setConflict] = useState<Version<Fields> | null>(null);
  const save = useMutation({
    mutationFn: async (form: Fields) => {
      const changed = Object.entries(form).filter(([name, value]) => !isSame(value, base.fields[name]));
      if (changed.length === 0) return null;
      const changes = Object.fromEntries(changed) as Partial<Fields>;
      const seen = conflict ?? base;
      try {
        return await write(changes, ifMatch(seen.tag));
      } catch (error) {
        if (!(error instanceof ApiProblem) || error.status !== 412) throw error;
        const now = await read();
        const isTaken = changed.some(([name, value]) => !isSame(now.fields[name], seen.fields[name]) && !isSame(now.fields[name], value));
        if (isTaken) throw new ChangedMeanwhile(now);
        return await write(changes, ifMatch(now.tag));
      }
    },
    onSuccess: onSaved,
    onError: (error) => error instanceof ChangedMeanwhile && setConflict(error.now as Version<Fields>),
  });
  const isConflict = save.error instanceof ChangedMeanwhile;
  return { save: save.mutate, isPending: save.isPending, isConflict, error: isConflict ? null : save.error };
}

/** Show that somebody else has changed the same fields. `onLoad` shows their values in the form. */
export function Meanwhile({ onLoad }: { onLoad: () => void }) {
  return (
    <p className="notice notice-warn" role="alert">
      {t("Somebody else has changed this meanwhile.")} {t("What you typed is still here. If you save again, it replaces the other change.")}{" "}
      <button type="button" className="link" onClick={onLoad}>{t("Load the current values")}</button>
    </p>
  );
}

/**
 * Show a form for the version that was current when the form was opened. Data that is read later
 * does not change the form. `renew` shows the form again with another version.
 */
export function Opened<Resource>({ now, children }: { now: Resource; children: (opened: Resource, renew: (to: Resource) => void) => ReactNode }) {
  const [{ opened, times }, set] = useState({ opened: now, times: 0 });
  return <Fragment key={times}>{children(opened, (to) => set({ opened: to, times: times + 1 }))}</Fragment>;
}
