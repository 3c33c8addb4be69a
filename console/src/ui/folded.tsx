/** A text of at most three lines, with a button that shows the rest. */
import { useLayoutEffect, useRef, useState } from "react";
import { t } from "../i18n";

export function Folded({ text }: { text: string }) {
  const [isOpen, setOpen] = useState(false);
  const [isLong, setLong] = useState(false);
  const shown = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const held = shown.current;
    if (held && !isOpen) setLong(held.scrollHeight > held.clientHeight + 1);
  }, [text, isOpen]);
  return (
    <span className="faint folded">
      <span ref={shown} className={isOpen ? undefined : "folded-text"}>{text}</span>
      {(isLong || isOpen) && (
        <button type="button" className="link" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? t("Show less") : t("Show all")}
        </button>
      )}
    </span>
  );
}
