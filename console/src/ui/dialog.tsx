/** A modal dialog. The focus stays inside, and returns when the dialog closes. Escape closes it. */
import { useEffect, useId, useRef, type ReactNode } from "react";
import { t } from "../i18n";
import { Icon } from "./icons";

type Props = {
  title: string;
  onClose: () => void;
  children: ReactNode;
  footer?: ReactNode;
  wide?: boolean;
};

const FIELDS = ["input", "select", "textarea"].map((name) => `${name}:not([disabled], [readonly], [type="radio"], [type="checkbox"], [type="hidden"])`).join(", ");

export function Dialog({ title, onClose, children, footer, wide }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const returnTo = document.activeElement;
    const wanted = box.current?.contains(returnTo) && returnTo instanceof HTMLElement ? returnTo : null;
    box.current?.showModal();
    // The browser would focus the close button. But a user who opens a form wants to type.
    (wanted ?? box.current?.querySelector<HTMLElement>(FIELDS))?.focus();
    return () => {
      if (returnTo instanceof HTMLElement && returnTo.isConnected) returnTo.focus();
    };
  }, []);
  return (
    <dialog
      ref={box}
      className={wide ? "dialog dialog-wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => (event.preventDefault(), onClose())}
      onClick={(event) => event.target === box.current && onClose()}
    >
      <div className="dialog-inside">
        <header className="dialog-head">
          <h2 id={heading}>{title}</h2>
          <button type="button" className="icon-button" aria-label={t("Close")} onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        <div className="dialog-body">{children}</div>
        {footer && <footer className="dialog-foot">{footer}</footer>}
      </div>
    </dialog>
  );
}
