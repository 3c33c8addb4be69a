/** What a thread shows first; read before it is opened, where that can be foreseen. */
import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { data } from "../../api/client";
import { listMessages, type MessagePage } from "../../api/generated";
import { readConversation } from "../../api/inbox";

const FIRST = 30;
const EARLIER = 100;

export type MessagePages = InfiniteData<MessagePage, string | undefined>;

/** The messages of a conversation, the newest first; further pages are larger. */
export const messagesOf = (id: string) => ({
  queryKey: ["messages", id, "thread"],
  initialPageParam: undefined as string | undefined,
  queryFn: ({ pageParam: cursor }: { pageParam: string | undefined }) =>
    data(listMessages({ path: { conversation_id: id }, query: cursor ? { limit: EARLIER, cursor } : { limit: FIRST }, throwOnError: true })),
  getNextPageParam: (page: MessagePage) => page.next_cursor ?? undefined,
});

export const conversationOf = (id: string) => ({ queryKey: ["conversation", id], queryFn: () => readConversation(id) });

/** Read a thread ahead, unless it was read a moment ago. */
export function prefetchThread(cache: QueryClient, id: string): void {
  void cache.prefetchQuery(conversationOf(id));
  void cache.prefetchInfiniteQuery(messagesOf(id));
}
