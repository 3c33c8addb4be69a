/** Links to the screens about people. Each of these screens shows the links below its head. */
import { Link } from "@tanstack/react-router";
import { memo } from "react";
import { t } from "../i18n";

export const PeopleNav = memo(function PeopleNav() {
  const exact = { exact: true, includeSearch: false };
  return (
    <div className="parts-nav" role="group" aria-label={t("People")}>
      <Link to="/contacts" search={{}} activeOptions={exact} activeProps={{ "aria-current": "true" }}>{t("Everybody")}</Link>
      <Link to="/segments" search={{}} activeOptions={exact} activeProps={{ "aria-current": "true" }}>{t("Segments")}</Link>
      <Link to="/imports" search={{}} activeOptions={exact} activeProps={{ "aria-current": "true" }}>{t("Imports")}</Link>
    </div>
  );
});
