/** Functions that call the inbox endpoints of the API. */
import { client } from "./generated/client.gen";
import { data } from "./client";

export type ConversationState = "waiting" | "open" | "snoozed" | "done";
export type Conversation = {
  id: string;
  line_id: string;
  phone: string;
  contact: { id: string; first_name: string | null; last_name: string | null; company: string | null } | null;
  state: ConversationState;
  waiting_since: string | null;
  unread_count: number;
  last_message: { id: string; direction: string; body_preview: string | null; at: string; status: string } | null;
  assignee: { id: string; name: string } | null;
  snoozed_until: string | null;
  has_draft: boolean;
  campaign: { id: string; name: string } | null;
  flags: string[];
  updated_at: string;
};
export type Counts = Record<"waiting" | "open" | "snoozed" | "unread" | "mine" | "unassigned", number>;
export type Change = { state?: ConversationState; snoozed_until?: string | null; assignee_id?: string | null };
type Page = { data: Conversation[]; next_cursor: string | null };

const get = <T>(url: string, query?: Record<string, unknown>, signal?: AbortSignal) =>
  data(client.get<{ 200: T }, unknown, true>({ url, throwOnError: true, ...(query ? { query } : {}), ...(signal ? { signal } : {}) }) as Promise<{ data: T }>);

export const listConversations = (query: Record<string, unknown>, signal?: AbortSignal) => get<Page>("/v1/conversations", query, signal);
export const readConversation = (id: string) => get<Conversation>(`/v1/conversations/${id}`);
export const countConversations = () => get<Counts>("/v1/conversations/counts");

const JSON_BODY = { "Content-Type": "application/json" };

export const changeConversation = (id: string, body: Change) =>
  data(client.patch<{ 200: Conversation }, unknown, true>({ url: `/v1/conversations/${id}`, body, headers: JSON_BODY, throwOnError: true }) as Promise<{ data: Conversation }>);

export const markRead = (id: string, message_id?: string) =>
  client.post({ url: `/v1/conversations/${id}/read`, body: message_id ? { message_id } : {}, headers: JSON_BODY, throwOnError: true });
