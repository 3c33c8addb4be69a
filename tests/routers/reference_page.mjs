// Runs the page of /docs with a browser's few objects made by hand; prints what it did as JSON.
// Arguments: the folder of its scripts, the OpenAPI document.

import { readFileSync } from "node:fs";

const [, , folder, documentFile] = process.argv;
const told = JSON.parse(readFileSync(documentFile, "utf8"));

class Element {
  constructor(name) {
    Object.assign(this, { name, attributes: {}, children: [], listeners: {}, value: "", open: false, hidden: false });
  }
  setAttribute(key, value) {
    this.attributes[key] = value;
    if (key === "value") this.value = value;
    if (key === "id") byId.set(value, this);
  }
  append(...children) { this.children.push(...children); }
  addEventListener(kind, act) { this.listeners[kind] = act; }
  fire(kind) { return this.listeners[kind]({ preventDefault() {}, target: this }); }
  all() { return this.children.flatMap((one) => (one instanceof Element ? [one, ...one.all()] : [])); }
  field(name) { return this.all().find((one) => one.attributes.name === name); }
  get textContent() { return this.children.map((one) => one.textContent ?? one).join(""); }
  set textContent(text) { this.children = [text]; }
}

const byId = new Map();
const make = (name) => new Element(name);
for (const id of ["about", "who", "find", "operations", "by-key", "by-password", "sign-off"]) make("div").setAttribute("id", id);
const Form = globalThis.FormData;
globalThis.FormData = class extends Form {
  constructor(form) {
    super();
    for (const one of form?.all() ?? []) if (one.attributes.name) this.append(one.attributes.name, one.value);
  }
};
globalThis.document = { createElement: make, getElementById: (id) => byId.get(id) };
globalThis.location = { origin: "http://crm.test" };

const sent = [];
const answers = {
  "/openapi.json": told,
  "/v1/auth/token": { access_token: "crms_signed-in" },
  "/v1/auth/me": { name: "till", scopes: ["admin"] },
};
globalThis.fetch = async (url, init = {}) => {
  sent.push({ url, method: init.method ?? "GET", headers: init.headers ?? {}, body: String(init.body ?? "") });
  const body = JSON.stringify(answers[url] ?? { id: "made" });
  return new Response(body, { status: 200, headers: { "content-type": "application/json", "x-request-id": "r-1" } });
};
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

await import(`file://${folder}/page.js`);
const submit = async (form, fields) => {
  for (const [name, value] of Object.entries(fields)) {
    const input = form.field(name) ?? (form.append(make("input")), form.children.at(-1));
    input.setAttribute("name", name);
    input.value = value;
  }
  form.fire("submit");
  await settled();
};
const open = (id) => {
  const panel = byId.get(id);
  panel.open = true;
  panel.fire("toggle");
  return panel.all().find((one) => one.name === "form");
};

await submit(byId.get("by-password"), { username: "ada@example.com", password: "a phrase" });
const signedIn = byId.get("who").textContent;
await submit(byId.get("by-key"), { token: " crm_a-key " });
await submit(open("create_contact"), { "parameter Idempotency-Key": "once" });
const output = byId.get("create_contact").textContent;
await submit(open("get_contact_by_phone"), { "parameter phone": "+1 617/555" });
await submit(open("list_contacts"), { "parameter q": "ada & co", "parameter limit": "2" });
byId.get("find").value = "list_contacts";
byId.get("find").fire("input");
const shown = byId.get("operations").all().filter((one) => one.name === "details" && !one.hidden);

console.log(JSON.stringify({
  sent, signedIn, output,
  panels: byId.get("operations").all().filter((one) => one.attributes.id).length,
  shown: shown.map((one) => one.attributes.id).filter(Boolean),
}));
