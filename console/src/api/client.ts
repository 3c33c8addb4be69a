/**
 * The client of the API. It sends the access token and an idempotency key with a request, and
 * throws an error response as an `ApiProblem`.
 */
import { replaceEqualDeep } from "@tanstack/react-query";
import { t } from "../i18n";
import { authorize, currentSession, renewAfter } from "../session";
import { client } from "./generated/client.gen";
import { ApiProblem } from "./problem";

/** Paths that can be called without a session. Other calls without a session fail at once. */
const OPEN = /^\/v1\/auth\//;
const REPEATABLE = new Set(["GET", "HEAD"]);

async function send(request: Request): Promise<Response> {
  const token = await authorize();
  if (!token && currentSession().state !== "in" && !OPEN.test(new URL(request.url).pathname)) {
    throw new ApiProblem(401, { code: "session_over", detail: t("Your session has ended. Sign in again.") });
  }
  // A request body can be sent only once. Send a copy, so that the request can be sent again.
  const attempt = REPEATABLE.has(request.method) ? request : request.clone();
  if (token) attempt.headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetch(attempt);
  // For these paths, a 401 means that the input is wrong, not that the session has ended.
  if (answer.status !== 401 || !token || OPEN.test(new URL(request.url).pathname)) return answer;
  const renewed = await renewAfter(token);
  if (!renewed) return answer;
  request.headers.set("Authorization", `Bearer ${renewed}`);
  return fetch(request);
}

/**
 * POST requests in progress, by URL and body. A double click makes two equal requests. The second
 * request is not sent; it gets the response to the first request.
 */
const onItsWay = new Map<string, Promise<Response>>();

async function sendOnce(request: Request): Promise<Response> {
  if (request.method !== "POST" || request.headers.get("Content-Type") !== "application/json") return send(request);
  const press = `${request.url} ${await request.clone().text()}`;
  const first = await onItsWay.get(press)?.catch(() => null);
  if (first) return first.clone();
  const answer = send(request);
  onItsWay.set(press, answer);
  try {
    return (await answer).clone();
  } finally {
    onItsWay.delete(press);
  }
}

export function setUpClient(): void {
  client.setConfig({
    baseUrl: "",
    throwOnError: true,
    fetch: async (input: RequestInfo | URL, init?: RequestInit) => {
      const request = input instanceof Request && !init ? input : new Request(input, init);
      if (!REPEATABLE.has(request.method) && !request.headers.has("Idempotency-Key")) {
        request.headers.set("Idempotency-Key", crypto.randomUUID());
      }
      return sendOnce(request);
    },
  });
  client.interceptors.error.use((error, response) => {
    if (error instanceof ApiProblem) return error;
    if (!response) return error instanceof Error ? error : new TypeError(String(error));
    const document = typeof error === "object" && error ? error : {};
    return new ApiProblem(response.status, document as Record<string, unknown>);
  });
}

/** The ETags of the resources that were read. */
const tags = new WeakMap<object, string>();

/** Return the data of a response. If the API returns an error, the call itself throws. */
export async function data<T>(call: Promise<{ data: T; response?: Response }>): Promise<NonNullable<T>> {
  const { data: found, response } = await call;
  const tag = response?.headers.get("ETag");
  if (tag && typeof found === "object" && found) tags.set(found, tag);
  return found as NonNullable<T>;
}

/** Return the ETag with which a resource was read; undefined if its response had none. */
export function tagOf(found: object): string | undefined {
  return tags.get(found);
}

/** Return the header that makes a change fail if the resource no longer has this ETag. */
export function ifMatch(tag: string | undefined): { "If-Match"?: string } {
  return tag ? { "If-Match": tag } : {};
}

/** Replace the changed parts of cached data. The result keeps the ETag of the new data. */
export function shareTagged(was: unknown, now: unknown): unknown {
  const shared = replaceEqualDeep(was, now);
  const tag = typeof now === "object" && now ? tags.get(now) : undefined;
  if (tag) tags.set(shared as object, tag);
  return shared;
}
