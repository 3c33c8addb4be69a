/** The warnings about the messages of a campaign before it starts. */
import { Link } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getSettings } from "../../api/generated";
import { plainly } from "../../api/problem";
import { t } from "../../i18n";
import { may } from "../../session";

type Warning = { code: string; variant: string | null; detail: string };

export function Warnings({ warnings, hasVariants }: { warnings: Warning[]; hasVariants: boolean }) {
  return warnings.map((one) => (
    <p key={`${one.code}-${one.variant ?? ""}`} className="notice notice-warn">
      {hasVariants && one.variant && <strong>{t("Message {name}", { name: one.variant })}: </strong>}
      <Sentence warning={one} />
    </p>
  ));
}

function Sentence({ warning: one }: { warning: Warning }) {
  if (one.code === "sender_not_named" && may("admin")) return <NotNamed />;
  if (one.code === "no_way_to_stop") return t("The message does not say how to stop. Write for example: Reply STOP to opt out.");
  return plainly(one.detail);
}

function NotNamed() {
  const settings = useQuery({ queryKey: ["settings"], queryFn: () => data(getSettings({ throwOnError: true })) });
  if (!settings.data) return null;
  const name = settings.data.business_name;
  if (name) return t("The message does not name you. Write {name} into it, as it is or as {value}.", { name, value: "{{ business.name }}" });
  return (
    <>
      {t("The service does not know the name of your company, so it cannot find it in the message.")}{" "}
      <Link to="/settings" search={{}} className="link">{t("Enter the name")}</Link>
    </>
  );
}
