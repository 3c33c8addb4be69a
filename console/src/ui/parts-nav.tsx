/** Links to the parts of a screen. The address of the screen contains the chosen part. */
import { Link } from "@tanstack/react-router";

export function PartsNav({ to, parts, current, label }: { to: "/operations" | "/settings"; parts: [string, string][]; current: string; label: string }) {
  return (
    <div className="parts-nav" role="group" aria-label={label}>
      {parts.map(([name, text], at) => (
        <Link key={name} to={to} search={at === 0 ? {} : { part: name }} aria-current={current === name ? "true" : undefined} activeOptions={{ exact: true }}>
          {text}
        </Link>
      ))}
    </div>
  );
}
