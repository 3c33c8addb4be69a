/** The preview of a campaign: each person's message, its cost, the sums, and skipped people. */
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { data } from "../../api/client";
import { listContacts, type CampaignPreview, type SampleText } from "../../api/generated";
import { sentenceOf } from "../../api/problem";
import { count, dollars, personName, phone } from "../../format";
import { t } from "../../i18n";
import { Badge, Button, Empty, Loading } from "../../ui/parts";
import { reason } from "../../ui/reasons";
import { Search } from "../../ui/search";
import { Warnings } from "./warnings";

type Props = {
  preview: CampaignPreview | undefined;
  error: unknown;
  isAsked: boolean;
  person: string | null;
  onPerson: (id: string | null) => void;
};

export function Beside({ preview, error, isAsked, person, onPerson }: Props) {
  const [at, setAt] = useState(0);
  if (!isAsked) {
    return (
      <aside className="composer-side" aria-label={t("Preview")}>
        <Empty title={t("The preview appears here")}>{t("Choose people and write a message. You then see it as each person gets it.")}</Empty>
      </aside>
    );
  }
  const samples = preview?.samples ?? [];
  const index = Math.max(0, Math.min(at, samples.length - 1));
  return (
    <aside className="composer-side" aria-label={t("Preview")}>
      {error ? <p className="notice notice-bad" role="alert">{sentenceOf(error)}</p> : null}
      {!preview && !error && <Loading lines={5} />}
      {preview && (
        <>
          <Phone sample={samples[index]} hasVariants={preview.variants.length > 1} />
          {samples.length > 1 && (
            <div className="phone-turn">
              <Button kind="quiet" icon="left" aria-label={t("Person before")} disabled={index <= 0} onClick={() => setAt(index - 1)} />
              <span className="number faint">{t("{n} of {all}", { n: index + 1, all: samples.length })}</span>
              <Button kind="quiet" icon="right" aria-label={t("Next person")} disabled={index >= samples.length - 1} onClick={() => setAt(index + 1)} />
            </div>
          )}
          <Somebody person={person} onPerson={(id) => (setAt(0), onPerson(id))} />
          <Summary preview={preview} />
        </>
      )}
    </aside>
  );
}

export function Phone({ sample, hasVariants }: { sample: SampleText | undefined; hasVariants: boolean }) {
  return (
    <div className="phone" aria-live="polite">
      <p className="phone-head">{sample ? phone(sample.phone) : t("Nobody")}</p>
      {sample?.text ? (
        <p className="phone-text">{sample.text}</p>
      ) : (
        <p className="phone-none">{sample?.skip_reason ? t("Gets nothing: {reason}.", { reason: reason(sample.skip_reason).toLowerCase() }) : t("There is no person to show.")}</p>
      )}
      {sample?.text && (
        <p className="phone-foot">
          {hasVariants && <strong>{sample.variant} · </strong>}
          {t("{n, plural, one {# segment} other {# segments}}", { n: sample.segments })} · {sample.encoding} · {dollars(sample.cost)}
        </p>
      )}
    </div>
  );
}

/** Let the user find a person by name, to see the message on the phone of this person. */
function Somebody({ person, onPerson }: { person: string | null; onPerson: (id: string | null) => void }) {
  const [q, setQ] = useState("");
  const found = useQuery({
    queryKey: ["contacts", "for-preview", q],
    enabled: q.trim().length > 1,
    queryFn: ({ signal }) => data(listContacts({ query: { q, limit: 5 }, signal, throwOnError: true })),
  });
  if (person) return <p><button type="button" className="link" onClick={() => (setQ(""), onPerson(null))}>{t("Show some people again")}</button></p>;
  return (
    <div className="somebody">
      <Search label={t("See the phone of")} value={q} onChange={setQ} />
      {q.trim().length > 1 && (
        <ul>
          {found.data?.data.map((one) => (
            <li key={one.id}><button type="button" className="link" onClick={() => onPerson(one.id)}>{personName(one)} <span className="faint">{phone(one.phone)}</span></button></li>
          ))}
          {found.data?.data.length === 0 && <li className="faint">{t("Nobody has this name.")}</li>}
        </ul>
      )}
    </div>
  );
}

export function Summary({ preview }: { preview: CampaignPreview }) {
  const { recipients } = preview;
  const skipped = Object.entries(recipients.skipped as Record<string, number>).filter(([, number]) => number > 0);
  return (
    <div className="form">
      <dl className="summary">
        <div><dt>{t("Get the message")}</dt><dd data-part="would_be_texted">{count(recipients.would_be_texted)}</dd></div>
        <div><dt>{t("Cost, about")}</dt><dd>{dollars(preview.cost)}</dd></div>
        <div><dt>{t("Segments")}</dt><dd>{count(preview.segments)}</dd></div>
      </dl>
      {(skipped.length > 0 || recipients.review > 0 || recipients.held > 0) && (
        <ul className="left-out">
          {recipients.review > 0 && <li><Badge tone="hold">{count(recipients.review)}</Badge> {t("wait for your review")}</li>}
          {recipients.held > 0 && <li><Badge tone="hold">{count(recipients.held)}</Badge> {t("are on hold")}</li>}
          {skipped.map(([code, number]) => (
            <li key={code}><Badge>{count(number)}</Badge> {reason(code).toLowerCase()}</li>
          ))}
        </ul>
      )}
      <Warnings warnings={preview.warnings} hasVariants={preview.variants.length > 1} />
      {preview.forcing_characters.slice(0, 3).map((one) => (
        <p key={`${one.code_point}-${one.variant}-${one.source}`} className="notice notice-warn">
          {t("The character “{character}” ({code}) makes segments shorter, so the message costs more.", { character: one.character, code: one.code_point })}
        </p>
      ))}
      {preview.missing_values.count > 0 && (
        <p className="notice notice-warn">
          {t("{n, plural, one {# person lacks} other {# people lack}} a value that the message uses. Give a default: {example}", { n: preview.missing_values.count, example: '{{ first_name | default: "there" }}' })}
        </p>
      )}
    </div>
  );
}
