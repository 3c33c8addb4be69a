/** The first queries of a thread. They run in advance for a thread that may be opened next. */
import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { data } from "../../api/client";
import { getContact, getTimeline, listConversationNotes, listMessages, type MessagePage } from "../../api/generated";
import { readConversation, type Conversation } from "../../api/inbox";
import { may } from "../../session";

const FIRST = 20;
const EARLIER = 100;

export type MessagePages = InfiniteData<MessagePage, string | undefined>;

/** Return the query of a conversation's messages, the newest first. Later pages are larger. */
export const messagesOf = (id: string) => ({
  queryKey: ["messages", id, "thread"],
  initialPageParam: undefined as string | undefined,
  queryFn: ({ pageParam: cursor }: { pageParam: string | undefined }) =>
    data(listMessages({ path: { conversation_id: id }, query: cursor ? { limit: EARLIER, cursor } : { limit: FIRST }, throwOnError: true })),
  getNextPageParam: (page: MessagePage) => page.next_cursor ?? undefined,
});

export const conversationOf = (id: string) => ({ queryKey: ["conversation", id], queryFn: () => readConversation(id) });

export const notesOf = (id: string) => ({
  queryKey: ["conversation", id, "notes"],
  queryFn: () => data(listConversationNotes({ path: { conversation_id: id }, query: { limit: 100 }, throwOnError: true })),
});

export const timelineOf = (contact: string) => ({
  queryKey: ["timeline", contact, "thread"],
  queryFn: () => data(getTimeline({ path: { contact_id: contact }, query: { limit: 100 }, throwOnError: true })),
});

export const contactOf = (id: string) => ({ queryKey: ["contact", id], queryFn: () => data(getContact({ path: { contact_id: id }, throwOnError: true })) });

/** Read a thread in advance, unless it was just read. The list row contains the conversation. */
export function prefetchThread(cache: QueryClient, row: Conversation): void {
  const key = conversationOf(row.id).queryKey;
  if (!cache.getQueryState(key)?.data) cache.setQueryData(key, row);
  void cache.prefetchInfiniteQuery(messagesOf(row.id));
  void cache.prefetchQuery(notesOf(row.id));
  if (!row.contact || !may("contacts:read")) return;
  void cache.prefetchQuery(timelineOf(row.contact.id));
  void cache.prefetchQuery(contactOf(row.contact.id));
}
