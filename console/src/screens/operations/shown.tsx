/** Parts that the operations and settings screens share: query states, colours and raw details. */
import type { ReactNode } from "react";
import { t } from "../../i18n";
import { Failed, Loading, type Tone } from "../../ui/parts";

export const TONE: Record<string, Tone> = {
  ok: "good", passed: "good", alive: "good", completed: "good", processed: "good", delivered: "good", active: "good", approved: "good", accepted: "good", agreed: "good", recovered: "good",
  failed: "bad", failing: "bad", dead: "bad", silent: "bad", unavailable: "bad", blocked: "bad", disabled: "bad", rejected: "bad", open: "bad", revoked: "neutral", expired: "neutral",
  degraded: "warn", overdue: "warn", waiting: "info", running: "info", pending: "info", invited: "info", submitted: "info", acknowledged: "warn", new: "info",
};

export function Shown({ query, children }: { query: { isPending: boolean; isLoadingError: boolean; error: unknown; refetch: () => unknown }; children: ReactNode }) {
  if (query.isPending) return <Loading />;
  if (query.isLoadingError) return <Failed error={query.error} again={() => void query.refetch()} />;
  return children;
}

/** Show a JSON document of the API, which can help to find a cause. */
export function Raw({ label, value }: { label?: string; value: unknown }) {
  if (value === null || value === undefined || (typeof value === "object" && Object.keys(value).length === 0)) return null;
  return (
    <details className="raw">
      <summary>{label ?? t("Details")}</summary>
      <pre>{JSON.stringify(value, null, 2)}</pre>
    </details>
  );
}

/** Show a command to run on the server. A click selects the command. */
export function Command({ children }: { children: string }) {
  return <code className="command">{children}</code>;
}
