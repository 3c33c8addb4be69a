/** The users who can be assigned or mentioned. Only owners may list users; others know themselves. */
import { useQuery } from "@tanstack/react-query";
import { data } from "./api/client";
import { listUsers } from "./api/generated";
import { currentSession, may } from "./session";

export type Colleague = { id: string; name: string };

export function useColleagues(): { me: Colleague | null; others: Colleague[] } {
  const session = currentSession();
  const found = useQuery({
    queryKey: ["users", "active"],
    queryFn: () => data(listUsers({ query: { limit: 100 }, throwOnError: true })),
    enabled: may("admin"),
    staleTime: 300_000,
  });
  // The API names a caller by the e-mail address; owners can read the name.
  const named = (id: string, email: string) => found.data?.data.find((one) => one.id === id)?.name || email;
  const me = session.state === "in" && session.me.email ? { id: session.me.id, name: named(session.me.id, session.me.email) } : null;
  const others = (found.data?.data ?? []).filter((one) => one.status === "active" && one.id !== me?.id);
  return { me, others: others.map(({ id, name }) => ({ id, name })) };
}
