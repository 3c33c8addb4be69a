/** A search field, which reports its text a moment after the last key press. */
import { useEffect, useRef, useState } from "react";
import { Icon } from "./icons";

export function Search({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  useEffect(() => {
    if (value !== sent.current) setText((sent.current = value));
  }, [value]);
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => text !== sent.current && onChange((sent.current = text)), 250);
    return () => clearTimeout(timer);
  }, [text, onChange]);
  // A click on a result first moves the focus. Report the text now: a later change of the address
  // would return to the list.
  const leave = () => {
    if (text !== sent.current) onChange((sent.current = text));
  };
  return (
    <div className="search">
      <Icon name="search" />
      <input type="search" aria-label={label} placeholder={label} value={text} onChange={(event) => setText(event.target.value)} onBlur={leave} />
    </div>
  );
}
