/** Settings of the company: name, approval rule, carrier registration and carrier budgets. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { FormEvent } from "react";
import { data } from "../../api/client";
import { getSettings, updateSettings, type SettingsRead, type SettingsUpdate } from "../../api/generated";
import { fieldError, sentenceOf } from "../../api/problem";
import { count } from "../../format";
import { t } from "../../i18n";
import { Badge, Button, Field } from "../../ui/parts";
import { say } from "../../ui/toasts";
import { Shown } from "../operations/shown";
import { Hours } from "./hours";

export function Company() {
  const query = useQuery({ queryKey: ["settings"], queryFn: () => data(getSettings({ throwOnError: true })) });
  return (
    <Shown query={query}>
      {query.data && (
        <>
          <Identity settings={query.data} />
          <Hours key={JSON.stringify([query.data.office_hours, query.data.holidays, query.data.away_reply])} settings={query.data} />
          <Carriers settings={query.data} />
        </>
      )}
    </Shown>
  );
}

export function useSave() {
  const cache = useQueryClient();
  return useMutation({
    mutationFn: (body: SettingsUpdate) => data(updateSettings({ body, throwOnError: true })),
    onSuccess: (changed) => (cache.setQueryData(["settings"], changed), say(t("Saved."))),
  });
}

/** Show a label beside a setting whose value comes from the environment of the service. */
export function Locked({ isShown }: { isShown: boolean }) {
  return isShown ? <Badge tone="info">{t("set by the environment")}</Badge> : null;
}

function Identity({ settings }: { settings: SettingsRead }) {
  const save = useSave();
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
    save.mutate(Object.fromEntries(Object.entries(all).filter(([name]) => !isLocked(name))));
  };
  const locked = t("Set by the environment of the service; it cannot be changed here.");
  const isAtField = ["/business_name", "/business_contact", "/test_numbers"].some((one) => fieldError(save.error, one));
  const testNumbers = Object.entries((save.error as { fields?: Record<string, string> } | null)?.fields ?? {}).find(([pointer]) => pointer.startsWith("/test_numbers"))?.[1];
  return (
    <section className="card card-body" aria-labelledby="company-title">
      <h2 id="company-title">{t("Company")}</h2>
      <form className="form" onSubmit={submit}>
        {save.error && !isAtField && !testNumbers && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <Field label={t("Name of the company")} error={fieldError(save.error, "/business_name")} hint={isLocked("business_name") ? locked : t("Messages name the sender with it.")}>
          {(attributes) => <input {...attributes} name="business_name" defaultValue={settings.business_name ?? ""} disabled={isLocked("business_name")} />}
        </Field>
        <Locked isShown={isLocked("business_name")} />
        <Field label={t("How to reach you")} error={fieldError(save.error, "/business_contact")} hint={isLocked("business_contact") ? locked : t("Sent to people who ask for help.")}>
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
        <p><Button kind="main" type="submit" busy={save.isPending}>{t("Save")}</Button></p>
      </form>
    </section>
  );
}

const CARRIERS = ["t_mobile", "att", "verizon", "us_cellular"] as const;
const CARRIER_NAMES = { t_mobile: "T-Mobile", att: "AT&T", verizon: "Verizon", us_cellular: "UScellular" };

/** Read the daily segments of other vendors from a text such as "Mailer 500, Forms 20". */
const vendorsOf = (text: string) =>
  text.split(",").map((one) => one.trim()).filter(Boolean).map((one) => {
    const [, name, segments] = /^(.*?)\s+(\d+)$/.exec(one) ?? [];
    return { name: name ?? one, daily_segments: Number(segments ?? 0) };
  });

function Carriers({ settings }: { settings: SettingsRead }) {
  const save = useSave();
  const budgets = settings.carrier_budgets as Record<string, { daily_segments: number; other_vendors?: { name: string; daily_segments: number }[] } | undefined>;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim() || null;
    const brand = { legal_name: text("legal_name"), ein: text("ein"), att_class: text("att_class") };
    const declared = CARRIERS.filter((one) => text(one)).map((one) => [one, { daily_segments: Number(text(one)), other_vendors: vendorsOf(text(`${one}-others`) ?? "") }]);
    save.mutate({ brand: Object.values(brand).some(Boolean) ? brand : null, carrier_budgets: Object.fromEntries(declared) });
  };
  const isAtField = ["/brand/ein", "/brand/att_class", "/brand/legal_name"].some((one) => fieldError(save.error, one));
  const { brand } = settings;
  return (
    <section className="card card-body" aria-labelledby="carriers-title">
      <h2 id="carriers-title">{t("Registration and budgets of the carriers")}</h2>
      <form className="form" onSubmit={submit}>
        {save.error && !isAtField && <p className="notice notice-bad" role="alert">{sentenceOf(save.error)}</p>}
        <div className="form-pair">
          <Field label={t("Legal name")} error={fieldError(save.error, "/brand/legal_name")}>{(attributes) => <input {...attributes} name="legal_name" defaultValue={brand?.legal_name ?? ""} />}</Field>
          <Field label={t("Tax ID (EIN)")} error={fieldError(save.error, "/brand/ein")} hint="12-3456789">{(attributes) => <input {...attributes} name="ein" defaultValue={brand?.ein ?? ""} />}</Field>
        </div>
        <Field label={t("Message class of AT&T")} error={fieldError(save.error, "/brand/att_class")}>{(attributes) => <input {...attributes} className="short" name="att_class" defaultValue={brand?.att_class ?? ""} maxLength={2} />}</Field>
        <p className="field-hint">{t("Segments a day that each carrier allows you. Empty is without a limit. Other vendors that send for you count too: name and segments, separated by commas.")}</p>
        {CARRIERS.map((one) => (
          <div key={one} className="form-pair">
            <Field label={t("{carrier}, segments a day", { carrier: CARRIER_NAMES[one] })} error={fieldError(save.error, `/carrier_budgets/${one}/daily_segments`)}>
              {(attributes) => <input {...attributes} type="number" min={0} name={one} defaultValue={budgets[one]?.daily_segments ?? ""} />}
            </Field>
            <Field label={t("Other vendors on {carrier}", { carrier: CARRIER_NAMES[one] })} hint={budgets[one]?.other_vendors?.length ? t("{n} segments a day", { n: count(budgets[one].other_vendors.reduce((sum, vendor) => sum + vendor.daily_segments, 0)) }) : undefined}>
              {(attributes) => <input {...attributes} name={`${one}-others`} placeholder="Mailer 500" defaultValue={(budgets[one]?.other_vendors ?? []).map((vendor) => `${vendor.name} ${vendor.daily_segments}`).join(", ")} />}
            </Field>
          </div>
        ))}
        <p><Button type="submit" busy={save.isPending}>{t("Save the registration")}</Button></p>
      </form>
    </section>
  );
}
