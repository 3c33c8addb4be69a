/**
 * A tour beside a running `make up`: `npm run example`.
 *
 * Needs CRM_EMAIL and CRM_PASSWORD of a user; CRM_URL when it is not http://127.0.0.1:8000.
 */
import { each, follow, ProblemError, signIn, unwrap } from "./crm.ts";

const { CRM_URL = "http://127.0.0.1:8000", CRM_EMAIL = "", CRM_PASSWORD = "" } = process.env;

const crm = await signIn(CRM_URL, CRM_EMAIL, CRM_PASSWORD);
const me = unwrap(await crm.GET("/v1/auth/me"));
console.log(`signed in as ${me.name}, ${me.role}`);

// A POST with an Idempotency-Key may be repeated: it happens once, and is answered alike.
const ada = { phone: "(617) 555-0181", first_name: "Ada", tags: ["tour"] };
const once = { params: { header: { "Idempotency-Key": crypto.randomUUID() } }, body: ada };
const contact = unwrap(await crm.POST("/v1/contacts", once));
const repeated = await crm.POST("/v1/contacts", once);
console.log(
  `created ${contact.phone}; sent again: the same person ${unwrap(repeated).id === contact.id},`,
  `replayed ${repeated.response.headers.get("Idempotent-Replayed")}`,
);

// A failure is a problem with a stable code.
try {
  unwrap(await crm.POST("/v1/contacts", { body: ada }));
} catch (error) {
  if (!(error instanceof ProblemError)) throw error;
  const isSame = error.problem["contact_id"] === contact.id;
  console.log(`refused: ${error.problem.status} ${error.problem.code}, that person ${isSame}`);
}

// If-Match keeps two people from overwriting each other.
const path = { contact_id: contact.id };
const seen = await crm.GET("/v1/contacts/{contact_id}", { params: { path } });
const header = { "If-Match": seen.response.headers.get("ETag") ?? "" };
const update = { params: { path, header }, body: { company: "Granite Foundations" } };
console.log(`changed: ${unwrap(await crm.PATCH("/v1/contacts/{contact_id}", update)).company}`);
const stale = await crm.PATCH("/v1/contacts/{contact_id}", update);
console.log(`refused: ${stale.error?.status} ${stale.error?.code}`);

// Live events: begun before the work of which they tell.
const over = new AbortController();
const events = follow(crm, over.signal);
const first = events.next();

// A file is a form; its rows are taken over in the background.
const csv = "First Name,Cell\nBruno,617-555-0182\nCarmen,617-555-0183\nDaria,617-555-0184\n";
const uploaded = unwrap(
  await crm.POST("/v1/imports", {
    body: { list_name: "Tour" },
    bodySerializer: (fields) => {
      const form = new FormData();
      for (const [name, value] of Object.entries(fields)) form.set(name, String(value));
      form.set("file", new Blob([csv], { type: "text/csv" }), "tour.csv");
      return form;
    },
  }),
);
for (let next = await first; !next.done; next = await events.next()) {
  const { type, subject_id, data } = next.value;
  if (type !== "import.progress" || subject_id !== uploaded.id) continue;
  if (data["status"] === "completed") break;
}
const done = unwrap(
  await crm.GET("/v1/imports/{import_id}", { params: { path: { import_id: uploaded.id } } }),
);
console.log(`imported ${done.created} of ${done.rows_total} onto the list ${done.list_name}`);

// Lists come in pages.
const names: (string | null)[] = [];
for await (const person of each(async (cursor) =>
  unwrap(
    await crm.GET("/v1/contacts", {
      params: { query: { limit: 2, list_id: done.list_id, ...(cursor && { cursor }) } },
    }),
  ),
)) {
  names.push(person.first_name);
}
console.log(`read in pages of two: ${names.sort().join(", ")}`);

// A campaign: written, looked at, started.
const [line] = unwrap(await crm.POST("/v1/lines/sync")).data;
if (line === undefined) throw new Error("The provider knows no line.");
const campaign = unwrap(
  await crm.POST("/v1/campaigns", {
    body: {
      name: "Tour",
      line_id: line.id,
      audience: { list_id: done.list_id },
      variants: [
        {
          name: "A",
          weight: 100,
          body: 'Hi {{ first_name | default: "there" }}, Granite here. Reply STOP to opt out.',
        },
      ],
      schedule: { window: { start: "00:00", end: "24:00" } },
      pacing: { mode: "burst", batch_size: 50, batch_interval_minutes: 1 },
    },
  }),
);
const at = { params: { path: { campaign_id: campaign.id } } };
const preview = unwrap(await crm.POST("/v1/campaigns/{campaign_id}/preview", at));
console.log(`a preview: "${preview.samples[0]?.text}", ${preview.segments} segments, $${preview.cost}`);
console.log(`started: ${unwrap(await crm.POST("/v1/campaigns/{campaign_id}/start", at)).status}`);
for await (const { type, campaign_id, data } of events) {
  if (campaign_id !== campaign.id || type !== "campaign.status") continue;
  if (data["status"] === "completed") break;
}
over.abort();
const stats = unwrap(await crm.GET("/v1/campaigns/{campaign_id}/stats", at));
const { pending } = stats.by_status;
console.log(`completed: ${stats.recipients_total} people, ${pending ?? 0} still to text`);

// Ada makes room for the next tour; a 204 has nothing to unwrap but a failure.
unwrap(await crm.DELETE("/v1/contacts/{contact_id}", { params: { path } }));
unwrap(await crm.POST("/v1/auth/sign-out-everywhere"));
console.log("signed out");
