/** The one place that calls the API: tokens, one idempotency key per press, problems as errors. */
import { t } from "../i18n";
import { authorize, currentSession, renewAfter } from "../session";
import { client } from "./generated/client.gen";
import { ApiProblem } from "./problem";

/** What a visitor may call; everything else is not even tried without a session. */
const OPEN = /^\/v1\/auth\//;
const REPEATABLE = new Set(["GET", "HEAD"]);

async function send(request: Request): Promise<Response> {
  const token = await authorize();
  if (!token && currentSession().state !== "in" && !OPEN.test(new URL(request.url).pathname)) {
    throw new ApiProblem(401, { code: "session_over", detail: t("Your session has ended. Sign in again.") });
  }
  // A copy of what has a body, for the second attempt.
  const attempt = REPEATABLE.has(request.method) ? request : request.clone();
  if (token) attempt.headers.set("Authorization", `Bearer ${token}`);
  const answer = await fetch(attempt);
  // A 401 of these calls is about what was entered, not about the session.
  if (answer.status !== 401 || !token || OPEN.test(new URL(request.url).pathname)) return answer;
  const renewed = await renewAfter(token);
  if (!renewed) return answer;
  request.headers.set("Authorization", `Bearer ${renewed}`);
  return fetch(request);
}

/** A POST while the same one is on its way is the same press: it gets the same answer. */
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

/** The data of an answer; every SDK function throws when the API refuses. */
export async function data<T>(call: Promise<{ data: T }>): Promise<NonNullable<T>> {
  return (await call).data as NonNullable<T>;
}
