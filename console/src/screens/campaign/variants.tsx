/** The messages of a campaign: variants with their figures and intervals, and follow-ups. */
import type { CampaignRead, CampaignStats } from "../../api/generated";
import { count, rate } from "../../format";
import { t } from "../../i18n";
import { Intervals } from "../../ui/interval";
import { Badge, Time, scrolls } from "../../ui/parts";

export function Variants({ campaign, stats }: { campaign: CampaignRead; stats: CampaignStats | undefined }) {
  const found = new Map(stats?.variants.map((one) => [one.name, one]));
  const isMany = campaign.variants.length > 1;
  return (
    <section className="card" aria-labelledby="variants-title">
      <h2 id="variants-title">{isMany ? t("Variants") : t("Message")}</h2>
      <div className="scroll-x" ref={scrolls}>
        <table className="table variants">
          <thead>
            <tr>
              <th>{t("Name")}</th>
              <th>{t("Text")}</th>
              {stats && (
                <>
                  <th className="end">{t("Recipients")}</th>
                  <th className="end">{t("Delivered")}</th>
                  <th className="end">{t("Replied")}</th>
                  <th className="end">{t("Opted out")}</th>
                </>
              )}
            </tr>
          </thead>
          <tbody>
            {campaign.variants.map((one) => {
              const figures = found.get(one.name);
              return (
                <tr key={one.name}>
                  <td>
                    <strong>{one.name}</strong> {one.for_known ? <Badge tone="info">{t("for people who know you")}</Badge> : isMany && <span className="faint">{one.weight} %</span>}
                    {figures?.stopped_at && <p><Badge tone="bad">{t("stopped")}</Badge> <Time at={figures.stopped_at} /></p>}
                  </td>
                  <td className="message-body">{one.body}</td>
                  {stats && (
                    <>
                      <td className="end" data-part="recipients">{count(figures?.recipients ?? 0)}</td>
                      <td className="end" data-part="delivered">{count(figures?.delivered ?? 0)}</td>
                      <td className="end" data-part="replied">{count(figures?.replied ?? 0)} <span className="faint">{rate(figures?.response_rate)}</span></td>
                      <td className="end" data-part="opted_out">{count(figures?.opted_out ?? 0)} <span className="faint">{rate(figures?.opt_out_rate)}</span></td>
                    </>
                  )}
                </tr>
              );
            })}
            {campaign.follow_ups.map((one, at) => (
              <tr key={`step-${at}`}>
                <td><strong>{t("Follow-up {n}", { n: at + 1 })}</strong> <span className="faint">{t("after {n} h without a reply", { n: one.after_hours })}</span></td>
                <td className="message-body" colSpan={stats ? 5 : 1}>{one.body}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {stats && stats.variants.length > 1 && (
        <div className="variant-charts">
          <figure>
            <figcaption>{t("Reply rate with its 95 % interval")}</figcaption>
            <Intervals label={t("Reply rate")} rows={stats.variants.map((one) => ({ name: one.name, value: one.response_rate, low: one.response_interval?.low, high: one.response_interval?.high }))} />
          </figure>
          <figure>
            <figcaption>{t("Opt-out rate with its 95 % interval")}</figcaption>
            <Intervals label={t("Opt-out rate")} rows={stats.variants.map((one) => ({ name: one.name, value: one.opt_out_rate, low: one.opt_out_interval?.low, high: one.opt_out_interval?.high }))} />
          </figure>
          {stats.ab_test && <p className="message-body">{stats.ab_test.sentence}</p>}
        </div>
      )}
    </section>
  );
}
