/** The users who can be assigned or mentioned. Only owners may list users; others know themselves. */
import { useQuery } from "@tanstack/react-query";
import { data } from "./api/client";
import { listUsers } from "./api/generated";
import { currentSession, may } from "./session";

export type Colleague = { id: string; name: string };

export function useColleagues(): { me: Colleague | null; others: Colleague[] } {
  const session = currentSession();
  const me = session.state === "in" && session.me.email ? { id: session.me.id, name: session.me.name } : null;
  const found = useQuery({
    queryKey: ["users", "active"],
    queryFn: () => data(listUsers({ query: { limit: 100 }, throwOnError: true })),
    enabled: may("admin"),
    staleTime: 300_000,
  });
  const others = (found.data?.data ?? []).filter((one) => one.status === "active" && one.id !== me?.id);
  return { me, others: others.map(({ id, name }) => ({ id, name })) };
}
