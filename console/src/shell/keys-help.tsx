/** The dialog that lists the keyboard shortcuts of the screen. */
import { keyGroups } from "../keys";
import { t } from "../i18n";
import { Dialog } from "../ui/dialog";

export function KeysHelp({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={t("Keys")} onClose={onClose}>
      {keyGroups().map(({ title, keys }) => (
        <section key={title} aria-label={title}>
          <h3>{title}</h3>
          <dl className="keys">
            {keys.map((one) => (
              <div key={one.key}>
                <dt><Keys text={one.key} /></dt>
                <dd>{one.name}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <p className="faint">{t("No single key sends a message.")}</p>
    </Dialog>
  );
}

const isApple = /Mac|iPhone|iPad/.test(navigator.platform);

/** Show a shortcut as keys. "g i" is two keys. "mod" is ⌘ on an Apple machine, else Ctrl. */
export function Keys({ text }: { text: string }) {
  const parts = text.includes(" ") ? text.split(" ") : text.split("+");
  return (
    <span className="key-list">
      {parts.map((part, at) => <kbd key={at}>{part === "mod" ? (isApple ? "⌘" : "Ctrl") : part.length === 1 ? part.toUpperCase() : part}</kbd>)}
    </span>
  );
}
