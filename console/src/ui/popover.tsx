/**
 * A button that opens a small panel. The panel is a popover of the browser: Escape or a click
 * outside closes it. The content of the panel is rendered when the panel is opened for the first
 * time.
 */
import { useId, useRef, useState, type ReactNode } from "react";
import { flushSync } from "react-dom";

type Props = { button: ReactNode; label?: string; className?: string; align?: "start" | "end"; children: (close: () => void) => ReactNode };

export function Popover({ button, label, className, align = "start", children }: Props) {
  const id = useId();
  const panel = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const [isMade, setMade] = useState(false);
  const place = () => {
    const box = opener.current?.getBoundingClientRect();
    if (!box || !panel.current) return;
    const { style } = panel.current;
    const below = box.bottom < window.innerHeight / 2;
    style.top = below ? `${box.bottom + 6}px` : "auto";
    style.bottom = below ? "auto" : `${window.innerHeight - box.top + 6}px`;
    style.left = align === "start" ? `${Math.max(8, box.left)}px` : "auto";
    style.right = align === "end" ? `${Math.max(8, window.innerWidth - box.right)}px` : "auto";
  };
  const close = () => panel.current?.hidePopover();
  return (
    <>
      <button ref={opener} type="button" className={className} aria-label={label} popoverTarget={id} onClick={place}>
        {button}
      </button>
      <div ref={panel} id={id} popover="auto" className="popover" onBeforeToggle={() => (flushSync(() => setMade(true)), place())}>
        {isMade && children(close)}
      </div>
    </>
  );
}
