/** Settings of the company: name, approval rule, carrier registration and carrier budgets. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { baseOf, Meanwhile, Opened, useSaveChanges, versionOf } from "../../api/changes";
import { data } from "../../api/client";
import { getSettings, updateSettings, type SettingsRead, type SettingsUpdate } from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { count } from "../../format";
import { t } from "../../i18n";
import { Badge, Button, Field } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";
import { Shown } from "../operations/shown";
import { Hours } from "./hours";

export function Company() {
  const query = useQuery({ queryKey: ["settings"], queryFn: () => data(getSettings({ throwOnError: true })) });
  return (
    <Shown query={query}>
      {query.data && (
        <>
          <Opened now={query.data}>{(opened, renew) => <Identity settings={opened} renew={renew} />}</Opened>
          <Opened now={query.data}>{(opened, renew) => <Hours settings={opened} renew={renew} />}</Opened>
          <Opened now={query.data}>{(opened, renew) => <Carriers settings={opened} renew={renew} />}</Opened>
        </>
      )}
    </Shown>
  );
}

export type FormProps = { settings: SettingsRead; renew: (to: SettingsRead) => void };

/** Return the functions that save the settings of one form, or load them again. */
export function useSave({ settings, renew }: FormProps, fieldsOf: (settings: SettingsRead) => SettingsUpdate) {
  const cache = useQueryClient();
  const read = () => data(getSettings({ throwOnError: true }));
  const show = (now: SettingsRead) => (cache.setQueryData(["settings"], now), renew(now));
  const form = useSaveChanges({
    base: baseOf(settings, cache.getQueryData<SettingsRead>(["settings"]) ?? settings, fieldsOf),
    read: async () => versionOf(await read(), fieldsOf),
    write: (body: SettingsUpdate, headers) => data(updateSettings({ body, headers, throwOnError: true })),
    onSaved: (saved) => (say(t("Saved.")), saved && show(saved)),
  });
  return { ...form, load: () => void read().then(show, fail) };
}

/** Show a label beside a setting whose value comes from the environment of the service. */
export function Locked({ isShown }: { isShown: boolean }) {
  return isShown ? <Badge tone="info">{t("set by the environment")}</Badge> : null;
}

const identityOf = (settings: SettingsRead): SettingsUpdate => ({
  business_name: settings.business_name, business_contact: settings.business_contact,
  require_approval: settings.require_approval, test_numbers: settings.test_numbers,
});

function Identity(props: FormProps) {
  const { settings } = props;
  const { save, load, isPending, isConflict, error } = useSave(props, identityOf);
  const isLocked = (name: string) => settings.locked.includes(name);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const all: SettingsUpdate = {
      business_name: text("business_name"), business_contact: text("business_contact"),
      require_approval: form.get("require_approval") === "on",
      test_numbers: String(form.get("test_numbers") ?? "").split(",").map((one) => one.trim()).filter(Boolean),
    };
    save(Object.fromEntries(Object.entries(all).filter(([name]) => !isLocked(name))));
  };
  const locked = t("Set by the environment of the service; it cannot be changed here.");
  const isAtField = ["/business_name", "/business_contact", "/test_numbers"].some((one) => fieldError(error, one));
  const testNumbers = Object.entries((error as { fields?: Record<string, string> } | null)?.fields ?? {}).find(([pointer]) => pointer.startsWith("/test_numbers"))?.[1];
  return (
    <section className="card card-body" aria-labelledby="company-title">
      <h2 id="company-title">{t("Company")}</h2>
      <form className="form" onSubmit={submit}>
        {isConflict && <Meanwhile onLoad={load} />}
        {error && !isAtField && !testNumbers && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
        <Field label={t("Name of the company")} error={fieldError(error, "/business_name")} hint={isLocked("business_name") ? locked : t("Messages use it as the name of the sender.")}>
          {(attributes) => <input {...attributes} name="business_name" defaultValue={settings.business_name ?? ""} disabled={isLocked("business_name")} />}
        </Field>
        <Locked isShown={isLocked("business_name")} />
        <Field label={t("How to reach you")} error={fieldError(error, "/business_contact")} hint={isLocked("business_contact") ? locked : t("Sent to people who ask for help.")}>
          {(attributes) => <input {...attributes} name="business_contact" defaultValue={settings.business_contact ?? ""} disabled={isLocked("business_contact")} />}
        </Field>
        <Locked isShown={isLocked("business_contact")} />
        <Field label={t("Own numbers for test messages")} error={testNumbers} hint={t("Separate them with commas.")}>
          {(attributes) => <input {...attributes} name="test_numbers" defaultValue={settings.test_numbers.join(", ")} disabled={isLocked("test_numbers")} />}
        </Field>
        <label className="check">
          <input type="checkbox" name="require_approval" defaultChecked={settings.require_approval} disabled={isLocked("require_approval")} />
          {t("Campaigns start only after a second person has approved them")}
        </label>
        <p><Button kind="main" type="submit" busy={isPending}>{t("Save")}</Button></p>
      </form>
    </section>
  );
}

const CARRIERS = ["t_mobile", "att", "verizon", "us_cellular"] as const;
const CARRIER_NAMES = { t_mobile: "T-Mobile", att: "AT&T", verizon: "Verizon", us_cellular: "UScellular" };

type Budget = { daily_segments: number; other_vendors: { name: string; daily_segments: number }[] };

/** Return the settings of this form, in the form in which the form sends them. */
function registrationOf({ brand, carrier_budgets }: SettingsRead) {
  const budgets = carrier_budgets as Record<string, Budget | undefined>;
  const declared = CARRIERS.flatMap((one): [string, Budget][] => {
    const budget = budgets[one];
    if (!budget) return [];
    return [[one, { daily_segments: budget.daily_segments, other_vendors: budget.other_vendors.map(({ name, daily_segments }) => ({ name, daily_segments })) }]];
  });
  return {
    brand: brand ? { legal_name: brand.legal_name ?? null, ein: brand.ein ?? null, att_class: brand.att_class ?? null } : null,
    carrier_budgets: Object.fromEntries(declared),
  };
}

function Carriers(props: FormProps) {
  const { settings } = props;
  const { save, load, isPending, isConflict, error } = useSave(props, registrationOf);
  const { brand, carrier_budgets: budgets } = registrationOf(settings);
  const [limits, setLimits] = useState<Record<string, string>>(() => Object.fromEntries(CARRIERS.map((one) => [one, String(budgets[one]?.daily_segments ?? "")])));
  const [vendors, setVendors] = useState<Record<string, VendorRow[]>>(() => Object.fromEntries(CARRIERS.map((one) => [one, (budgets[one]?.other_vendors ?? []).map((vendor) => ({ name: vendor.name, segments: String(vendor.daily_segments) }))])));
  const hasNoLimit = (one: string) => !limits[one]?.trim() && vendors[one]!.length > 0;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (CARRIERS.some(hasNoLimit)) return;
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const named = { legal_name: text("legal_name"), ein: text("ein"), att_class: text("att_class") };
    const declared = CARRIERS.filter((one) => limits[one]).map((one) => [one, {
      daily_segments: Number(limits[one]), other_vendors: vendors[one]!.map(({ name, segments }) => ({ name: name.trim(), daily_segments: Number(segments) })),
    }]);
    save({ brand: Object.values(named).some(Boolean) ? named : null, carrier_budgets: Object.fromEntries(declared) });
  };
  const isAtField = ["/brand/ein", "/brand/att_class", "/brand/legal_name"].some((one) => fieldError(error, one));
  return (
    <section className="card card-body" aria-labelledby="carriers-title">
      <h2 id="carriers-title">{t("Registration and budgets of the carriers")}</h2>
      <form className="form" onSubmit={submit}>
        {isConflict && <Meanwhile onLoad={load} />}
        {error && !isAtField && <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p>}
        <div className="form-pair">
          <Field label={t("Legal name")} error={fieldError(error, "/brand/legal_name")}>{(attributes) => <input {...attributes} name="legal_name" defaultValue={brand?.legal_name ?? ""} />}</Field>
          <Field label={t("Tax ID (EIN)")} error={fieldError(error, "/brand/ein")} hint="12-3456789">{(attributes) => <input {...attributes} name="ein" defaultValue={brand?.ein ?? ""} />}</Field>
        </div>
        <Field label={t("Message class of AT&T")} error={fieldError(error, "/brand/att_class")}>{(attributes) => <input {...attributes} className="short" name="att_class" defaultValue={brand?.att_class ?? ""} maxLength={2} />}</Field>
        <p className="field-hint">{t("The segments a day that each carrier allows you. Leave a field empty if the carrier has no limit. Segments of other vendors that send for you count too.")}</p>
        {CARRIERS.map((one) => (
          <div key={one} className="form-pair">
            <Field
              label={t("{carrier}, segments a day", { carrier: CARRIER_NAMES[one] })}
              error={hasNoLimit(one) ? t("Other vendors count only with a limit. Enter the limit, or remove the vendors.") : fieldError(error, `/carrier_budgets/${one}/daily_segments`)}
            >
              {(attributes) => <input {...attributes} type="number" min={0} value={limits[one]} onChange={(event) => setLimits({ ...limits, [one]: event.target.value })} />}
            </Field>
            <Vendors carrier={CARRIER_NAMES[one]} rows={vendors[one]!} onChange={(rows) => setVendors({ ...vendors, [one]: rows })} />
          </div>
        ))}
        <p><Button type="submit" busy={isPending}>{t("Save the registration")}</Button></p>
      </form>
    </section>
  );
}

type VendorRow = { name: string; segments: string };

/** The other vendors on a carrier, each with its name and its segments a day. */
function Vendors({ carrier, rows, onChange }: { carrier: string; rows: VendorRow[]; onChange: (rows: VendorRow[]) => void }) {
  const set = (at: number, change: Partial<VendorRow>) => onChange(rows.map((one, index) => (index === at ? { ...one, ...change } : one)));
  const sum = rows.reduce((total, one) => total + Number(one.segments), 0);
  return (
    <div className="field" role="group" aria-label={t("Other vendors on {carrier}", { carrier })}>
      <span>{t("Other vendors on {carrier}", { carrier })}</span>
      {rows.map((one, at) => (
        <div key={at} className="vendor">
          <input aria-label={t("Name of vendor {n} on {carrier}", { n: at + 1, carrier })} placeholder={t("Name")} required maxLength={200} value={one.name} onChange={(event) => set(at, { name: event.target.value })} />
          <input aria-label={t("Segments a day of vendor {n} on {carrier}", { n: at + 1, carrier })} type="number" min={0} step={1} required value={one.segments} onChange={(event) => set(at, { segments: event.target.value })} />
          <Button kind="quiet" icon="close" aria-label={t("Remove vendor {n} on {carrier}", { n: at + 1, carrier })} onClick={() => onChange(rows.filter((_, index) => index !== at))} />
        </div>
      ))}
      {rows.length > 0 && <p className="field-hint">{t("{n} segments a day", { n: count(sum) })}</p>}
      <p><Button kind="quiet" icon="plus" aria-label={t("Add a vendor on {carrier}", { carrier })} onClick={() => onChange([...rows, { name: "", segments: "" }])}>{t("Add a vendor")}</Button></p>
    </div>
  );
}
