/** The dialog to choose when a message is sent, in the time zone of the person. */
import { useState } from "react";
import { now } from "../../clock";
import { currentZone, when } from "../../format";
import { t } from "../../i18n";
import { Dialog } from "../../ui/dialog";
import { Button, Field } from "../../ui/parts";
import { instantOf, localOf, morningAfter } from "../../ui/zoned";

type Props = { zone: string; refused: { text: string; next: string | null } | null; isBusy: boolean; onSend: (at: string, move: boolean) => void; onClose: () => void };

export function SendLater({ zone, refused, isBusy, onSend, onClose }: Props) {
  const [text, setText] = useState(() => localOf(morningAfter(new Date(now()), zone, 1), zone));
  const at = text ? instantOf(text, zone) : null;
  const isValid = at !== null && !Number.isNaN(at.getTime());
  const choose = (to: Date) => setText(localOf(to, zone));
  return (
    <Dialog
      title={t("Send later")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("Cancel")}</Button>
          <Button kind="main" disabled={!isValid} busy={isBusy} onClick={() => at && onSend(at.toISOString(), false)}>{t("Send at this time")}</Button>
        </>
      }
    >
      <div className="later-choices">
        <Button onClick={() => choose(new Date(now() + 3_600_000))}>{t("In an hour")}</Button>
        <Button onClick={() => choose(morningAfter(new Date(now()), zone, 1))}>{t("Tomorrow, 9:00")}</Button>
        <Button onClick={() => choose(morningAfter(new Date(now()), zone, 7))}>{t("In a week, 9:00")}</Button>
      </div>
      <Field label={t("On the person's clock ({zone})", { zone })} hint={isValid && zone !== currentZone() ? t("Your clock shows {time} then.", { time: when(at.toISOString()) }) : t("Legal hours and consent are checked again when it leaves.")}>
        {(attributes) => <input type="datetime-local" {...attributes} value={text} min={localOf(new Date(now()), zone)} onChange={(event) => setText(event.target.value)} />}
      </Field>
      {refused && (
        <div className="notice notice-warn" role="alert">
          {refused.next ? (
            <>
              <p>{t("At that time it is quiet hours for the person. The next allowed time on their clock is {time}.", { time: when(refused.next, zone) })}</p>
              <button type="button" className="link" onClick={() => at && onSend(at.toISOString(), true)}>{t("Send then")}</button>
            </>
          ) : (
            refused.text
          )}
        </div>
      )}
    </Dialog>
  );
}
