// Shows the document's operations, and sends what is filled in. All text is set as text.

import { build, curl, operations } from "./request.js";

const SHOWN = 200_000; // characters of an answer: a stream of events goes on for ever
const TOLD = ["content-type", "etag", "location", "retry-after", "ratelimit", "x-request-id"];
const at = (id) => document.getElementById(id);
let token = ""; // in this page only: nothing that other pages could read

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function values(form) {
  return Object.fromEntries([...new FormData(form)].filter(
    ([, value]) => typeof value === "string" || value.size > 0));
}

function onSubmit(form, act) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(values(form));
  });
}

async function authorize(given, told) {
  const answer = await fetch("/v1/auth/me", { headers: { Authorization: `Bearer ${given}` } });
  const who = await answer.json();
  token = answer.ok ? given : "";
  at("who").textContent = answer.ok
    ? `${told}: ${who.name}, may ${who.scopes.join(", ")}`
    : who.detail;
}

async function signIn({ username, password }) {
  const body = new URLSearchParams({ grant_type: "password", username, password });
  const answer = await fetch("/v1/auth/token", { method: "POST", body });
  const tokens = await answer.json();
  if (answer.ok) await authorize(tokens.access_token, "Signed in");
  else at("who").textContent = tokens.detail;
}

function inputOf(parameter) {
  const { name, schema = {}, example } = parameter;
  const attributes = { name: `parameter ${name}`, placeholder: String(example ?? schema.default ?? "") };
  if (parameter.in === "path") Object.assign(attributes, { required: "", value: "" });
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  const input = choices
    ? make("select", { name: attributes.name }, ...["", ...choices].map((one) => make("option", { value: one }, String(one))))
    : make("input", attributes);
  const note = make("span", { class: "note" }, `${parameter.in}. ${parameter.description ?? ""}`);
  return make("label", {}, make("b", {}, name), note, input);
}

function inputsOf({ type, fields, example }) {
  if (type === "application/json") {
    const text = make("textarea", { name: "body", spellcheck: "false" });
    text.value = JSON.stringify(example, null, 2);
    return [make("label", {}, make("b", {}, "Body"), text)];
  }
  return fields.map(({ name, isFile, isNeeded }) => make("label", {}, make("b", {}, name), make("input", {
    name: `field ${name}`,
    type: isFile ? "file" : name === "password" ? "password" : "text",
    ...(isNeeded ? { required: "" } : {}),
  })));
}

async function send(operation, given, output, stop) {
  const request = build(operation, given, token);
  output.textContent = `${curl(location.origin, request)}\n\n`;
  const begun = performance.now();
  try {
    const answer = await fetch(request.url, { ...request.init, signal: stop.signal });
    const took = Math.round(performance.now() - begun);
    output.textContent += `${answer.status} ${answer.statusText} after ${took} ms\n`;
    for (const name of TOLD) {
      if (answer.headers.has(name)) output.textContent += `${name}: ${answer.headers.get(name)}\n`;
    }
    output.textContent += "\n";
    await show(answer, output);
  } catch (error) {
    output.textContent += String(error.message ?? error);
  }
}

async function show(answer, output) {
  const type = answer.headers.get("content-type") ?? "";
  if (type.includes("json")) {
    const text = await answer.text();
    output.textContent += JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN);
    return;
  }
  if (!type.startsWith("text/")) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    output.textContent += part.value;
    if (output.textContent.length > SHOWN) {
      await reader.cancel();
      return;
    }
  }
}

function fill(panel, operation) {
  const needs = operation.isOpen ? "Asks nobody who they are." : `Needs ${operation.scopes.join(", ") || "a key or a user"}.`;
  const output = make("pre", { role: "log" });
  const form = make("form", {}, ...operation.parameters.map(inputOf),
    ...(operation.body ? inputsOf(operation.body) : []), make("button", {}, "Send"));
  const end = make("button", { type: "button" }, "Stop");
  let stop = new AbortController();
  end.addEventListener("click", () => stop.abort());
  onSubmit(form, (given) => {
    stop.abort();
    stop = new AbortController();
    send(operation, given, output, stop);
  });
  form.append(end);
  panel.append(make("p", {}, operation.description), make("p", { class: "note" }, needs), form,
    ...fieldsOf("Fields of the body", operation.body?.told), output, ...fieldsOf("Fields of the answer", operation.answer));
}

function fieldsOf(title, lines) {
  return lines?.length ? [make("details", {}, make("summary", {}, title), make("pre", {}, lines.join("\n")))] : [];
}

function panelOf(operation) {
  const path = make("code", operation.isDeprecated ? { class: "deprecated" } : {}, operation.path);
  const title = make("summary", {}, make("span", { class: "method" }, operation.method), path, ` ${operation.id}`);
  const panel = make("details", { id: operation.id }, title);
  panel.addEventListener("toggle", () => {
    if (panel.open && panel.children.length === 1) fill(panel, operation);
  });
  return panel;
}

function showAll(told) {
  at("about").textContent = told.info.description;
  const tags = new Map(told.tags.map(({ name, description }) => [name, make("section", {}, make("h2", {}, name), make("p", { class: "note" }, description))]));
  const panels = operations(told).map((operation) => {
    const panel = panelOf(operation);
    tags.get(operation.tag)?.append(panel);
    return [panel, `${operation.method} ${operation.path} ${operation.id} ${operation.description}`.toLowerCase()];
  });
  at("operations").append(...tags.values());
  at("find").addEventListener("input", (event) => {
    const word = event.target.value.trim().toLowerCase();
    for (const [panel, text] of panels) panel.hidden = !text.includes(word);
  });
}

onSubmit(at("by-key"), ({ token: given }) => authorize(given.trim(), "Authorized"));
onSubmit(at("by-password"), signIn);
onSubmit(at("sign-off"), () => {
  token = "";
  at("who").textContent = "Nobody is authorized.";
});
showAll(await (await fetch("/openapi.json")).json());
