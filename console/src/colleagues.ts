/** The active users, who can be assigned to work or mentioned in notes. */
import { useQuery } from "@tanstack/react-query";
import { data } from "./api/client";
import { listColleagues } from "./api/generated";
import { currentSession, may } from "./session";

export type Colleague = { id: string; name: string };

function useActive() {
  return useQuery({
    queryKey: ["users", "colleagues"],
    queryFn: () => data(listColleagues({ query: { limit: 200 }, throwOnError: true })),
    enabled: may("messages:read"),
    staleTime: 300_000,
  });
}

/**
 * Return a function that replaces the e-mail address of an active user with the user's name. The
 * API reports the e-mail address of the user who did something.
 */
export function useNameOf(): (actor: string) => string {
  const found = useActive();
  return (actor) => found.data?.data.find((one) => one.email === actor)?.name || actor;
}

export function useColleagues(): { me: Colleague | null; others: Colleague[]; all: Colleague[] } {
  const session = currentSession();
  const found = useActive();
  const nameOf = useNameOf();
  const me = session.state === "in" && session.me.email ? { id: session.me.id, name: nameOf(session.me.email) } : null;
  const others = (found.data?.data ?? []).filter((one) => one.id !== me?.id).map(({ id, name }) => ({ id, name }));
  return { me, others, all: me ? [me, ...others] : others };
}
