/** What a frontend needs beside the generated types: signing in, failures, paging, live events. */
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.d.ts";

type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];
export type LiveEvent = Schemas["EventRead"];
/** Answers are JSON; the types leave CSV and event streams, which some calls also give, aside. */
type Media = "application/json" | "application/problem+json";
export type Crm = Client<paths, Media>;

/** A failure as the service tells it: `problem.code` is for programs, `message` for people. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** Sign in with e-mail address and password; every call of the client then carries the token. */
export async function signIn(baseUrl: string, username: string, password: string): Promise<Crm> {
  const crm = createClient<paths, Media>({ baseUrl });
  let tokens = unwrap(
    await crm.POST("/v1/auth/token", {
      body: { grant_type: "password", username, password },
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
    }),
  );
  let renewAt = expiry(tokens);
  let renewing: Promise<void> | undefined;

  // A refresh token works once, so calls that find the access token old share one renewal.
  async function renew(): Promise<void> {
    const body = { refresh_token: tokens.refresh_token };
    tokens = unwrap(await crm.POST("/v1/auth/refresh", { body }));
    renewAt = expiry(tokens);
  }

  crm.use({
    async onRequest({ request, schemaPath }) {
      if (schemaPath === "/v1/auth/refresh") return;
      if (Date.now() >= renewAt) await (renewing ??= renew().finally(() => (renewing = undefined)));
      request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
    },
  });
  return crm;
}

/** When to renew: half a minute before the end, for calls that are on their way. */
function expiry(tokens: Schemas["TokenRead"]): number {
  return Date.now() + (tokens.expires_in - 30) * 1000;
}

/** Return what a call answered; a failure is thrown as a ProblemError. */
export function unwrap<Data>(answer: { data?: Data; error?: Problem; response: Response }): Data {
  if (answer.error !== undefined) throw new ProblemError(answer.error);
  return answer.data as Data;
}

/** Go through a list, page after page, as long as somebody asks for more. */
export async function* each<Item>(
  read: (cursor: string | undefined) => Promise<{ data: Item[]; next_cursor?: string | null }>,
): AsyncGenerator<Item> {
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    yield* page.data;
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
}

/**
 * Follow what happens, until the signal; after a lost connection from where it was, without a gap.
 *
 * An `EventSource` cannot send a token, so this reads the stream of an ordinary call.
 */
export async function* follow(
  crm: Crm,
  signal: AbortSignal,
  retryMilliseconds = 2_000,
): AsyncGenerator<LiveEvent> {
  let lastEventId: string | undefined;
  while (!signal.aborted) {
    try {
      const answer = await crm.GET("/v1/events", {
        params: { header: lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId } },
        parseAs: "stream",
        signal,
      });
      if (answer.error !== undefined) throw new ProblemError(answer.error);
      for await (const frame of frames(answer.response)) {
        lastEventId = frame.get("id") ?? lastEventId;
        const data = frame.get("data");
        if (data !== undefined) yield JSON.parse(data) as LiveEvent;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ProblemError && error.problem.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMilliseconds));
  }
}

/** Cut a stream of server-sent events into its events, each as its fields. */
async function* frames(response: Response): AsyncGenerator<Map<string, string>> {
  let text = "";
  const decoded = response.body?.pipeThrough(new TextDecoderStream());
  for await (const chunk of decoded ?? []) {
    const blocks = (text + chunk).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      yield new Map(
        block.split("\n").map((line) => {
          const colon = line.indexOf(":");
          return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
        }),
      );
    }
  }
}
