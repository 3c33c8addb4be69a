/** Calls that the compiler must refuse. The directive above an accepted call is an error. */
import { signIn } from "./crm.ts";
import * as api from "./generated/index.ts";

const client = await signIn("http://127.0.0.1", "", "");
const path = { contact_id: "01980000-0000-7000-8000-000000000000" };

// @ts-expect-error The API has no path for this function.
await api.listPeople({ client });
// @ts-expect-error The path does not have this method.
await api.replaceContacts({ client, body: {} });
// @ts-expect-error The path is not the path of the function.
await api.listContacts({ client, url: "/v1/people" });
// @ts-expect-error The path parameter is missing.
await api.getContact({ client });
// @ts-expect-error A required field is missing.
await api.createContact({ client, body: { first_name: "Ada" } });
// @ts-expect-error The field has another type.
await api.updateContact({ client, path, body: { tags: "vip" } });
// @ts-expect-error The value is not in the set of allowed values.
await api.listContacts({ client, query: { sort: "shoe size" } });

const { data, error } = await api.getContact({ client, path });
// @ts-expect-error The call may have failed, so there may be no data.
data.phone;
// @ts-expect-error No response has this field.
data?.surname;
// @ts-expect-error The field may be null.
data?.first_name.length;
// @ts-expect-error The code of an error is a string.
error?.code.status;
