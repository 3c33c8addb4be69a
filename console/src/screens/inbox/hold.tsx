/** The notice about a reply that may be an opt-out. Campaigns wait until a user has decided. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { data } from "../../api/client";
import { getContact } from "../../api/generated";
import type { Conversation } from "../../api/inbox";
import { t } from "../../i18n";
import { may } from "../../session";

const ConsentDialog = lazy(() => import("../contact-consent").then((one) => ({ default: one.ConsentDialog })));

export function HoldNotice({ conversation }: { conversation: Conversation }) {
  const cache = useQueryClient();
  const [isDeciding, setDeciding] = useState(false);
  const id = conversation.contact?.id;
  const isHeld = conversation.flags.includes("opt_out_hold") && !conversation.flags.includes("opted_out");
  const person = useQuery({ queryKey: ["contact", id], queryFn: () => data(getContact({ path: { contact_id: id! }, throwOnError: true })), enabled: isHeld && !!id && may("contacts:read") });
  if (!isHeld) return null;
  const close = () => {
    setDeciding(false);
    for (const key of [["conversation", conversation.id], ["conversations"], ["alerts"], ["today"]]) void cache.invalidateQueries({ queryKey: key });
  };
  return (
    <div className="notice notice-warn thread-notice">
      {t("A reply may mean stop, so campaigns do not write to this number. Read it, then decide.")}{" "}
      {person.data && may("contacts:write") && <button type="button" className="link" onClick={() => setDeciding(true)}>{t("Decide")}</button>}
      <Suspense>{isDeciding && person.data && <ConsentDialog contact={person.data} onClose={close} />}</Suspense>
    </div>
  );
}
