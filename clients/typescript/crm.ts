/**
 * Functions that a frontend needs in addition to the generated client.
 *
 * They are for sign-in, errors, lists in pages, file uploads and live events.
 */
import { type Client, createClient, formDataBodySerializer } from "./generated/client/index.ts";
import { refresh, signIn as requestTokens } from "./generated/sdk.gen.ts";
import type {
  CreateImportErrors,
  CreateImportResponses,
  EventRead,
  FollowEventsErrors,
  FollowEventsResponses,
  ImportOfFile,
  Problem,
  TokenRead,
} from "./generated/types.gen.ts";

export type { Problem };
export type Crm = Client;
export type LiveEvent = EventRead;

const SIGNED_IN = [{ scheme: "bearer", type: "http" }] as const;

/** An error that the service reports: `problem.code` is for programs, `message` for people. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/**
 * Sign in with an e-mail address and a password.
 *
 * Each call of the returned client sends an access token, which is renewed before it expires.
 */
export async function signIn(baseUrl: string, username: string, password: string): Promise<Crm> {
  const client = createClient({ baseUrl });
  const body = { grant_type: "password", username, password } as const;
  let tokens = unwrap(await requestTokens({ client, body }));
  let renewAt = expiry(tokens);
  let renewing: Promise<void> | undefined;

  // A refresh token works only once, so calls with an expired access token share one renewal.
  async function renew(): Promise<void> {
    tokens = unwrap(await refresh({ client, body: { refresh_token: tokens.refresh_token } }));
    renewAt = expiry(tokens);
  }

  async function accessToken(): Promise<string> {
    if (Date.now() >= renewAt) await (renewing ??= renew().finally(() => (renewing = undefined)));
    return tokens.access_token;
  }

  return createClient({
    baseUrl,
    auth: (wanted) => (wanted.scheme === "bearer" ? accessToken() : undefined),
  });
}

/** Return when to renew the token: 30 s before it expires, because a call takes some time. */
function expiry(tokens: TokenRead): number {
  return Date.now() + (tokens.expires_in - 30) * 1000;
}

/** Return the data of a response, or throw its error: a ProblemError if the service reports it. */
export function unwrap<Data>(answer: { data?: Data | undefined; error?: unknown }): Data {
  const { data, error } = answer;
  if (error === undefined) return data as Data;
  if (isProblem(error)) throw new ProblemError(error);
  throw error instanceof Error ? error : new Error(String(error));
}

function isProblem(error: unknown): error is Problem {
  return typeof error === "object" && error !== null && "code" in error && "detail" in error;
}

/** Yield the items of a list. Each page is read only when the caller needs its first item. */
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
 * Upload a file to import.
 *
 * The same path also accepts JSON, to import from the provider. `createImport` sends JSON.
 */
export function importFile(crm: Crm, body: ImportOfFile & { file: Blob }) {
  return crm.post<CreateImportResponses, CreateImportErrors>({
    ...formDataBodySerializer,
    url: "/v1/imports",
    security: SIGNED_IN,
    headers: { "Content-Type": null },
    body,
  });
}

/**
 * Yield live events until the signal aborts. After a lost connection, continue without a gap.
 *
 * The generated `followEvents` does not renew the token when it reconnects, and does not end if the
 * service refuses it. So this function makes an ordinary call and reads the stream of its response.
 */
export async function* follow(
  crm: Crm,
  signal: AbortSignal,
  retryMilliseconds = 2_000,
): AsyncGenerator<LiveEvent> {
  let lastEventId: string | undefined;
  while (!signal.aborted) {
    try {
      const answer = await crm.get<FollowEventsResponses, FollowEventsErrors>({
        url: "/v1/events",
        parseAs: "stream",
        security: SIGNED_IN,
        headers: { "Last-Event-ID": lastEventId },
        signal,
      });
      unwrap(answer);
      for await (const frame of frames(answer.response?.body)) {
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

/** Split a stream of server-sent events. Yield the fields of each event. */
async function* frames(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null | undefined,
): AsyncGenerator<Map<string, string>> {
  let text = "";
  for await (const chunk of body?.pipeThrough(new TextDecoderStream()) ?? []) {
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
