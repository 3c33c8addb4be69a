/**
 * An example session for frontends. It uses a service that `make up` has started.
 *
 * Set CRM_EMAIL and CRM_PASSWORD to the e-mail address and the password of a user. Set CRM_URL if
 * the address of the service is not http://127.0.0.1:8000. Run `npm run generate`, then
 * `npm run example`.
 */
import { each, follow, importFile, ProblemError, signIn, unwrap } from "./crm.ts";
import {
  createCampaign,
  createContact,
  deleteContact,
  getContact,
  getImport,
  listContacts,
  previewCampaign,
  readCaller,
  readStats,
  signOutEverywhere,
  startCampaign,
  syncLines,
  updateContact,
} from "./generated/index.ts";

const { CRM_URL = "http://127.0.0.1:8000", CRM_EMAIL = "", CRM_PASSWORD = "" } = process.env;

const client = await signIn(CRM_URL, CRM_EMAIL, CRM_PASSWORD);
const me = unwrap(await readCaller({ client }));
console.log(`signed in as ${me.name}, ${me.role}`);

// A POST with an Idempotency-Key can be repeated: it runs once, and its response is the same.
const ada = { phone: "(617) 555-0181", first_name: "Ada", tags: ["tour"] };
const once = { client, headers: { "Idempotency-Key": crypto.randomUUID() }, body: ada };
const contact = unwrap(await createContact(once));
const repeated = await createContact(once);
console.log(
  `created ${contact.phone}; sent again: the same person ${unwrap(repeated).id === contact.id},`,
  `replayed ${repeated.response?.headers.get("Idempotent-Replayed")}`,
);

// The body of an error response is a problem document with a stable code.
try {
  unwrap(await createContact({ client, body: ada }));
} catch (error) {
  if (!(error instanceof ProblemError)) throw error;
  const isSame = error.problem["contact_id"] === contact.id;
  console.log(`refused: ${error.problem.status} ${error.problem.code}, that person ${isSame}`);
}

// If-Match prevents that two people overwrite each other's changes.
const path = { contact_id: contact.id };
const seen = await getContact({ client, path });
const headers = { "If-Match": seen.response?.headers.get("ETag") ?? "" };
const update = { client, path, headers, body: { company: "Granite Foundations" } };
console.log(`changed: ${unwrap(await updateContact(update)).company}`);
const stale = await updateContact(update);
console.log(`refused: ${stale.error?.status} ${stale.error?.code}`);

// Follow the live events before the import starts, so that no event of the import is missed.
const over = new AbortController();
const events = follow(client, over.signal);
const first = events.next();

// A file is sent as a form. The service imports its rows in the background.
const csv = "First Name,Cell\nBruno,617-555-0182\nCarmen,617-555-0183\nDaria,617-555-0184\n";
const file = new File([csv], "tour.csv", { type: "text/csv" });
const uploaded = unwrap(await importFile(client, { file, list_name: "Tour" }));
for (let next = await first; !next.done; next = await events.next()) {
  const { type, subject_id, data } = next.value;
  if (type !== "import.progress" || subject_id !== uploaded.id) continue;
  if (data["status"] === "completed") break;
}
const done = unwrap(await getImport({ client, path: { import_id: uploaded.id } }));
console.log(`imported ${done.created} of ${done.rows_total} onto the list ${done.list_name}`);

// Lists are read in pages.
const names: (string | null)[] = [];
for await (const person of each(async (cursor) =>
  unwrap(
    await listContacts({
      client,
      query: { limit: 2, list_id: done.list_id, cursor: cursor ?? null },
    }),
  ),
)) {
  names.push(person.first_name);
}
console.log(`read in pages of two: ${names.sort().join(", ")}`);

// Create, preview and start a campaign.
const [line] = unwrap(await syncLines({ client })).data;
if (line === undefined) throw new Error("The provider knows no line.");
const campaign = unwrap(
  await createCampaign({
    client,
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
const at = { client, path: { campaign_id: campaign.id } };
const preview = unwrap(await previewCampaign(at));
console.log(`a preview: "${preview.samples[0]?.text}", ${preview.segments} segments, $${preview.cost}`);
console.log(`started: ${unwrap(await startCampaign(at)).status}`);
for await (const { type, campaign_id, data } of events) {
  if (campaign_id !== campaign.id || type !== "campaign.status") continue;
  if (data["status"] === "completed") break;
}
over.abort();
const stats = unwrap(await readStats(at));
const { pending } = stats.by_status;
console.log(`completed: ${stats.recipients_total} people, ${pending ?? 0} still to text`);

// Delete the contact, so that the next run can create it. The response 204 has no data; `unwrap`
// throws an error if the contact was not deleted.
unwrap(await deleteContact({ client, path }));
unwrap(await signOutEverywhere({ client }));
console.log("signed out");
