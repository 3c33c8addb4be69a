/** What the types must refuse; a directive that refuses nothing is itself an error. */
import { signIn } from "./crm.ts";
import * as api from "./generated/index.ts";

const client = await signIn("http://127.0.0.1", "", "");
const path = { contact_id: "01980000-0000-7000-8000-000000000000" };

// @ts-expect-error a path that is not there
await api.listPeople({ client });
// @ts-expect-error a method that the path has not
await api.replaceContacts({ client, body: {} });
// @ts-expect-error another path than that of the operation
await api.listContacts({ client, url: "/v1/people" });
// @ts-expect-error a path's parameter left out
await api.getContact({ client });
// @ts-expect-error a required field left out
await api.createContact({ client, body: { first_name: "Ada" } });
// @ts-expect-error a field of another type
await api.updateContact({ client, path, body: { tags: "vip" } });
// @ts-expect-error a word that is none of the set
await api.listContacts({ client, query: { sort: "shoe size" } });

const { data, error } = await api.getContact({ client, path });
// @ts-expect-error an answer that may have failed
data.phone;
// @ts-expect-error a field that no answer has
data?.surname;
// @ts-expect-error a field that may be null
data?.first_name.length;
// @ts-expect-error a failure's code is text
error?.code.status;
