/** The dialog that shows a secret once, with a button that copies it. */
import { t } from "../../i18n";
import { Dialog } from "../../ui/dialog";
import { Button } from "../../ui/parts";
import { fail, say } from "../../ui/toasts";

export function Secret({ title, note, value, onClose }: { title: string; note?: string; value: string; onClose: () => void }) {
  const copy = () =>
    navigator.clipboard.writeText(value).then(
      () => say(t("Copied.")),
      () => fail(t("The browser did not copy it. Select it and copy it by hand.")),
    );
  return (
    <Dialog title={title} onClose={onClose} footer={<><Button onClick={() => void copy()}>{t("Copy")}</Button><Button kind="main" onClick={onClose}>{t("Done")}</Button></>}>
      <p>{note ?? t("Copy it now. It is not shown again.")}</p>
      <p className="secret">{value}</p>
    </Dialog>
  );
}
