/** Settings: company, provider, lines, users, API keys, webhooks, and the user's own settings. */
import { useSearch } from "@tanstack/react-router";
import { t } from "../i18n";
import { may } from "../session";
import { PageHead } from "../ui/parts";
import { PartsNav } from "../ui/parts-nav";
import { Company } from "./settings/company";
import { Keys } from "./settings/keys";
import { Lines } from "./settings/lines";
import { People } from "./settings/people";
import { Provider } from "./settings/provider";
import { Webhooks } from "./settings/webhooks";
import { You } from "./settings/you";
import "./composer.css";
import "./operations/operations.css";
import "./settings/settings.css";

export function Settings() {
  const isAdmin = may("admin");
  const parts: [string, string][] = [
    ...(isAdmin ? ([["company", t("Company")]] as [string, string][]) : []),
    ["you", t("You")],
    ...(isAdmin ? ([["provider", t("Provider")]] as [string, string][]) : []),
    ...(may("campaigns:read") ? ([["lines", t("Lines")]] as [string, string][]) : []),
    ...(isAdmin ? ([["people", t("People")], ["keys", t("API keys")]] as [string, string][]) : []),
    ...(may("webhooks:read") ? ([["webhooks", t("Webhooks")]] as [string, string][]) : []),
  ];
  const asked = useSearch({ from: "/shell/settings" }).part;
  const part = parts.find(([name]) => name === asked)?.[0] ?? parts[0]![0];
  return (
    <>
      <PageHead title={t("Settings")} />
      <PartsNav to="/settings" parts={parts} current={part} label={t("Parts")} />
      <div className="sections">
        {part === "company" && <Company />}
        {part === "you" && <You />}
        {part === "provider" && <Provider />}
        {part === "lines" && <Lines />}
        {part === "people" && <People />}
        {part === "keys" && <Keys />}
        {part === "webhooks" && <Webhooks />}
      </div>
    </>
  );
}
