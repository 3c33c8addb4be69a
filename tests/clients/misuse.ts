/** What the types must refuse; a directive that refuses nothing is itself an error. */
import { signIn } from "./crm.ts";

const crm = await signIn("http://127.0.0.1", "", "");
const path = { contact_id: "01980000-0000-7000-8000-000000000000" };

// @ts-expect-error a path that is not there
await crm.GET("/v1/people");
// @ts-expect-error a method that the path has not
await crm.PUT("/v1/contacts", { body: {} });
// @ts-expect-error a path's parameter left out
await crm.GET("/v1/contacts/{contact_id}");
// @ts-expect-error a required field left out
await crm.POST("/v1/contacts", { body: { first_name: "Ada" } });
// @ts-expect-error a field of another type
await crm.PATCH("/v1/contacts/{contact_id}", { params: { path }, body: { tags: "vip" } });
// @ts-expect-error a word that is none of the set
await crm.GET("/v1/contacts", { params: { query: { sort: "shoe size" } } });

const { data, error } = await crm.GET("/v1/contacts/{contact_id}", { params: { path } });
// @ts-expect-error an answer that may have failed
data.phone;
// @ts-expect-error a field that no answer has
data?.surname;
// @ts-expect-error a field that may be null
data?.first_name.length;
// @ts-expect-error a failure's code is text
error?.code.status;
