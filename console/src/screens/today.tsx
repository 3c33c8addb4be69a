/** The Today screen: money, waiting people, tasks, appointments, campaigns, lines and alerts. */
import { currentZone } from "../format";
import { now } from "../clock";
import { t } from "../i18n";
import { may } from "../session";
import { PageHead } from "../ui/parts";
import { Alerts, Appointments, Lines, Running } from "./today/day";
import { Money } from "./today/money";
import { People, Tasks } from "./today/people";
import "./today.css";

export function Today() {
  return (
    <>
      <PageHead title={t("Today")}>
        <span className="faint">{new Intl.DateTimeFormat(document.documentElement.lang, { weekday: "long", month: "long", day: "numeric", timeZone: currentZone() }).format(new Date(now()))}</span>
      </PageHead>
      <div className="today">
        <div className="today-column">
          {may("sales:read") && <Money />}
          {may("messages:read") && <People />}
          {may("contacts:read") && <Tasks />}
        </div>
        <div className="today-column">
          {may("sales:read") && <Appointments />}
          {may("campaigns:read") && <Running />}
          {may("campaigns:read") && <Lines />}
          {may("operations") && <Alerts />}
        </div>
      </div>
    </>
  );
}
