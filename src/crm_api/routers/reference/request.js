// What the document says of an operation, and the request that a filled form stands for.

const DEEPEST = 3; // fields of fields: rules of segments hold themselves
const METHODS = ["get", "post", "patch", "put", "delete"];

/** Follow a `$ref` into the document. */
export function resolve(document, node) {
  if (!node || !node.$ref) return node;
  return node.$ref.slice(2).split("/").reduce(
    (found, part) => found[part.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

/** List the operations in the order of the document. */
export function operations(document) {
  return Object.entries(document.paths).flatMap(([path, known]) =>
    METHODS.filter((method) => known[method]).map((method) => {
      const told = known[method];
      return {
        id: told.operationId,
        tag: (told.tags ?? ["other"])[0],
        method: method.toUpperCase(),
        path,
        description: told.description ?? told.summary ?? "",
        isDeprecated: Boolean(told.deprecated),
        isOpen: (told.security ?? []).length === 0,
        scopes: [...new Set((told.security ?? []).flatMap((one) => Object.values(one).flat()))],
        parameters: (told.parameters ?? []).map((one) => resolve(document, one)),
        body: body(document, told.requestBody),
        answer: described(document, answerOf(document, told)),
      };
    }));
}

function body(document, told) {
  const content = resolve(document, told)?.content;
  if (!content) return null;
  const [type, media] = Object.entries(content)[0];
  const schema = resolve(document, media.schema) ?? {};
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => ({
    name,
    isFile: field.format === "binary" || field.contentMediaType !== undefined,
    isNeeded: (schema.required ?? []).includes(name),
  }));
  return { type, fields, example: media.example ?? {}, told: described(document, media.schema) };
}

function answerOf(document, told) {
  const [, good] = Object.entries(told.responses).find(([status]) => status.startsWith("2")) ?? [];
  return resolve(document, good)?.content?.["application/json"]?.schema;
}

/** Describe a schema in lines: each field with its type, what it is for, and whether it is needed. */
export function described(document, schema, depth = 0) {
  const known = resolve(document, schema);
  if (!known || depth > DEEPEST) return [];
  const inner = known.items ?? known.anyOf?.find((one) => one.type !== "null");
  if (inner) return described(document, inner, depth);
  return Object.entries(known.properties ?? {}).flatMap(([name, field]) => {
    const needed = (known.required ?? []).includes(name) ? ", needed" : "";
    const said = field.description ? `: ${field.description}` : "";
    return [`${"  ".repeat(depth)}${name} (${typeOf(document, field)}${needed})${said}`,
      ...described(document, field, depth + 1)];
  });
}

function typeOf(document, field) {
  const known = resolve(document, field);
  if (known.anyOf) return known.anyOf.map((one) => typeOf(document, one)).join(" or ");
  if (known.enum) return known.enum.join(", ");
  if (known.type === "array") return `list of ${typeOf(document, known.items ?? {})}`;
  return known.format ?? known.type ?? "any";
}

/** Make the request of a form; `values` are its fields by `parameter name` or `body`. */
export function build(operation, values, token) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { name, in: place } of operation.parameters) {
    const value = values[`parameter ${name}`] ?? "";
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (place === "query") query.append(name, value);
    else if (place === "header") headers[name] = value;
  }
  if (token) headers.Authorization = `Bearer ${token}`;
  const init = { method: operation.method, headers, credentials: "same-origin" };
  if (operation.body) init.body = encoded(operation.body, values, headers);
  const search = query.toString();
  return { url: search ? `${path}?${search}` : path, init };
}

function encoded({ type, fields }, values, headers) {
  if (type === "application/json") {
    const text = values.body ?? "";
    if (text.trim() === "") return undefined;
    headers["Content-Type"] = type;
    return text;
  }
  const form = type === "multipart/form-data" ? new FormData() : new URLSearchParams();
  for (const { name } of fields) {
    const value = values[`field ${name}`];
    if (value !== undefined && value !== "") form.append(name, value);
  }
  return form; // the browser names the type, with the boundary of its parts
}

/** Write the request as a curl command, with the key left out. */
export function curl(origin, { url, init }) {
  const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
  const parts = [`curl -X ${init.method} ${quoted(origin + url)}`];
  for (const [name, value] of Object.entries(init.headers)) {
    parts.push(`-H ${quoted(`${name}: ${name === "Authorization" ? "Bearer $KEY" : value}`)}`);
  }
  if (typeof init.body === "string") parts.push(`-d ${quoted(init.body)}`);
  return parts.join(" \\\n  ").replaceAll("'Authorization: Bearer $KEY'", '"Authorization: Bearer $KEY"');
}
