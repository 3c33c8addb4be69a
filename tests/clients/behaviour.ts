/** Tests of crm.ts against a server whose first token expires at once and whose streams break. */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { each, follow, ProblemError, signIn, unwrap } from "./crm.ts";
import { listAlerts, listContacts } from "./generated/index.ts";

const asked: string[] = [];
let renewals = 0;

function tokens(expires_in: number) {
  const access_token = `token-${renewals}`;
  return { access_token, expires_in, refresh_token: `refresh-${renewals}`, scope: "" };
}

function problem(answer: ServerResponse, status: number, code: string) {
  const said = { type: "urn:x", title: "Refused", status, detail: "No.", instance: "/", code };
  answer.writeHead(status, { "Content-Type": "application/problem+json" });
  answer.end(JSON.stringify(said));
}

function reply(request: IncomingMessage, answer: ServerResponse) {
  asked.push(`${request.method} ${request.url} ${request.headers.authorization ?? "nobody"}`);
  const json = (body: unknown) => {
    answer.writeHead(200, { "Content-Type": "application/json" });
    answer.end(JSON.stringify(body));
  };
  if (request.url === "/v1/auth/token") return json(tokens(0));
  if (request.url === "/v1/auth/refresh") {
    renewals += 1;
    return json(tokens(900));
  }
  if (request.url === "/v1/alerts") return problem(answer, 403, "missing_scope");
  if (request.url?.startsWith("/v1/contacts")) {
    const at = Number(new URL(request.url, "http://x").searchParams.get("cursor") ?? 0);
    return json({ data: [at * 2, at * 2 + 1], next_cursor: at < 2 ? String(at + 1) : null });
  }
  // Cut the stream after each event, in the middle of the next event.
  const last = Number(request.headers["last-event-id"] ?? 0);
  if (last === 2) return problem(answer, 403, "missing_scope");
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  const data = JSON.stringify({ type: "alert", data: { number: last + 1 } });
  answer.write(`: listening\nid: ${last}\n\nevent: alert\ndata: ${data}\n`);
  setImmediate(() => answer.write(`id: ${last + 1}\n\nevent: alert\nda`, () => answer.destroy()));
}

const server = createServer(reply).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const { port } = server.address() as AddressInfo;
const client = await signIn(`http://127.0.0.1:${port}`, "olga@example.com", "a password");

// Calls with an expired access token share one renewal, and then send the new token.
const calls = [listContacts({ client }), listContacts({ client }), listContacts({ client })];
await Promise.all(calls);
equal(renewals, 1);
equal(asked.filter((one) => one === "GET /v1/contacts Bearer token-1").length, 3);
await listContacts({ client });
equal(renewals, 1);

// An error response is thrown as an error with the code of the response.
await rejects(
  async () => unwrap(await listAlerts({ client })),
  (error) => error instanceof ProblemError && error.problem.code === "missing_scope",
);

// All pages are read in order. A page that the caller does not need is not read.
const read = async (cursor: string | undefined) => {
  const query = cursor === undefined ? {} : { cursor };
  return unwrap(await listContacts({ client, query }));
};
const all: unknown[] = [];
for await (const one of each(read)) all.push(one);
deepEqual(all, [0, 1, 2, 3, 4, 5]);
asked.length = 0;
for await (const one of each(read)) if (Number(one) === 1) break;
equal(asked.length, 1);

// After a cut, the stream continues after its last event. An error response ends the stream.
const numbers: unknown[] = [];
await rejects(async () => {
  for await (const { data } of follow(client, new AbortController().signal, 0)) {
    numbers.push(data["number"]);
  }
}, ProblemError);
deepEqual(numbers, [1, 2]);

server.close();
server.closeAllConnections();
