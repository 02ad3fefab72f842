#!/usr/bin/env node
// Prisma's query engine for a real Postgres, where no engine binary can be downloaded.
//
// LiteLLM's Python client (prisma 0.15) starts a program, `query-engine`, and sends it GraphQL over HTTP. npm has the same
// engine as WebAssembly, inside @prisma/client, which takes JSON. This is the program: it translates one into the other,
// and lets `pg` carry the queries. Only what LiteLLM uses is translated; anything else is an error, never an answer.
"use strict";
const fs = require("node:fs"), http = require("node:http"), path = require("node:path");

// The commit of Prisma 5.17.0, which the Python client asks for before it trusts the program.
const COMMIT = "393aa359c9ad4a4bb28630fb5613f9c281cde053";
const argument = (name) => process.argv[process.argv.indexOf(name) + 1];
if (process.argv.includes("--version")) {
  console.log(`query-engine ${COMMIT}`);
  process.exit(0);
}

const modules = process.env.QUERY_ENGINE_MODULES;
const load = (name) => require(require.resolve(name, { paths: [modules] }));
const { Pool, types } = load("pg");
const { PrismaPg } = load("@prisma/adapter-pg");
const { bindAdapter } = load("@prisma/driver-adapter-utils");
const { parse } = load("graphql");

// ---- the data model: which field holds JSON, which leads to another model ------------------------------------------
const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, "utf8");
const models = new Map();
for (const [, name, body] of datamodel.matchAll(/^model (\w+) \{\n([\s\S]*?)^\}/gm)) {
  const fields = [...body.matchAll(/^\s+(\w+)\s+(\w+)/gm)].map(([, field, type]) => [field, type]);
  models.set(name, new Map(fields));
}

// ---- GraphQL in, JSON protocol out ---------------------------------------------------------------------------------
const OPERATIONS = [
  "findUnique", "findFirst", "findMany", "createOne", "createMany", "updateOne", "updateMany", "upsertOne", "deleteOne",
  "deleteMany", "aggregate", "groupBy",
];
const LISTS = new Set(["set", "push", "equals", "not", "array_contains"]);

function literal(node) {
  switch (node.kind) {
    case "NullValue": return null;
    case "FloatValue": return Number(node.value);
    case "IntValue": return Number.isSafeInteger(Number(node.value)) ? Number(node.value) : { $type: "BigInt", value: node.value };
    case "ListValue": return node.values.map(literal);
    case "ObjectValue": return Object.fromEntries(node.fields.map((field) => [field.name.value, literal(field.value)]));
    default: return node.value;
  }
}

const named = (nodes, value) => Object.fromEntries((nodes ?? []).map((node) => [node.name.value, value(node)]));
const argumentsOf = (field) => named(field.arguments, (item) => literal(item.value));
const selectionOf = (set) => named(set?.selections, (field) =>
  field.selectionSet || field.arguments?.length ? { arguments: argumentsOf(field), selection: selectionOf(field.selectionSet) } : true);

// Values of JSON fields come as text of JSON and have to say so; where they are is known from the model alone.
function tagged(value, model) {
  if (Array.isArray(value)) return value.map((item) => tagged(item, model));
  if (value === null || typeof value !== "object" || "$type" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => {
    const type = models.get(model)?.get(key);
    return [key, type === "Json" ? asJson(inner) : tagged(inner, models.has(type) ? type : model)];
  }));
}

function asJson(value) {
  if (typeof value === "string") return { $type: "Json", value };
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== "object" || "$type" in value) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, LISTS.has(key) ? asJson(inner) : inner]));
}

function translated(text) {
  const field = parse(text, { noLocation: true }).definitions[0].selectionSet.selections[0];
  const name = field.name.value, query = { arguments: argumentsOf(field), selection: selectionOf(field.selectionSet) };
  if (name === "queryRaw" || name === "executeRaw") return { action: name, query };
  const found = OPERATIONS.find((operation) => name.startsWith(operation));
  if (!found) throw new Error(`this engine does not know ${name}`);
  const strict = name.endsWith("OrThrow");
  const modelName = name.slice(found.length, strict ? -"OrThrow".length : undefined);
  query.arguments = tagged(query.arguments, modelName);
  return { modelName, action: strict ? `${found}OrThrow` : found, query };
}

// ---- answers: without type tags, under the one name the client asked for; an absent database in the engine's words -----
function untagged(value) {
  if (Array.isArray(value)) return value.map(untagged);
  if (value === null || typeof value !== "object") return value;
  if ("$type" in value) return value.value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, untagged(inner)]));
}

const address = new URL(process.env.DATABASE_URL);
function unreachable() {
  const message = `Can't reach database server at \`${address.hostname}:${address.port || 5432}\``;
  const meta = { database_host: address.hostname, database_port: Number(address.port || 5432) };
  return { error: message, user_facing_error: { is_panic: false, message, meta, error_code: "P1001" } };
}

let failure = null; // the last error of the connection pool, which the engine only calls "external connector"
function errorsOf(errors) {
  return errors.map((item) => {
    if (!/external connector/i.test(JSON.stringify(item))) return item;
    const said = failure?.message ?? "";
    failure = null;
    const refused = /starting up|shutting down|recovery|too many (clients|connections)|remaining connection slots/i.test(said);
    if (!refused) return unreachable();
    const message = `Error querying the database: FATAL: ${said}`;
    return { error: message, user_facing_error: { is_panic: false, message, backtrace: null } };
  });
}

const answerOf = (result, raw) => result.errors
  ? { errors: errorsOf(result.errors) }
  : { data: { result: raw ? Object.values(result.data)[0] : untagged(Object.values(result.data)[0]) } };

// ---- the engine --------------------------------------------------------------------------------------------------------
async function engineOf() {
  const runtime = path.join(modules, "@prisma/client/runtime");
  const glue = require(path.join(runtime, "query_engine_bg.postgresql.js"));
  const compiled = new WebAssembly.Module(fs.readFileSync(path.join(runtime, "query_engine_bg.postgresql.wasm")));
  const instance = new WebAssembly.Instance(compiled, { "./query_engine_bg.js": glue });
  glue.__wbg_set_wasm(instance.exports);
  const wait = Number(address.searchParams.get("pool_timeout") ?? 10) * 1000;
  const pool = new Pool({
    connectionString: address.href.split("?")[0],
    max: Number(address.searchParams.get("connection_limit") ?? 5),
    connectionTimeoutMillis: wait,
  });
  pool.on("error", () => {}); // of an idle connection; who needs it next gets its own
  const connect = pool.connect.bind(pool);
  pool.connect = (...all) => {
    const asked = connect(...all);
    asked?.catch?.((error) => { failure = error; });
    return asked;
  };
  // columns of type name and name[], in views of the catalogue, are text to the adapter
  const { addFields } = require(path.join(path.dirname(require.resolve("pg", { paths: [modules] })), "result.js")).prototype;
  require(path.join(path.dirname(require.resolve("pg", { paths: [modules] })), "result.js")).prototype.addFields = function (fields) {
    for (const field of fields) field.dataTypeID = { 19: types.builtins.TEXT, 1003: 1009 }[field.dataTypeID] ?? field.dataTypeID;
    return addFields.call(this, fields);
  };
  const options = { datamodel, logLevel: "error", logQueries: false, enableTracing: false, engineProtocol: "json" };
  const engine = new glue.QueryEngine(options, () => {}, bindAdapter(new PrismaPg(pool)));
  await engine.connect("{}");
  return engine;
}

async function handled(engine, url, transaction, text) {
  if (url === "/status") return { status: "ok" };
  if (url === "/metrics") return {};
  const body = text ? JSON.parse(text) : {};
  if (url === "/transaction/start") {
    const { max_wait, timeout, isolation_level } = body;
    const done = JSON.parse(await engine.startTransaction(JSON.stringify({ max_wait, timeout, isolation_level }), "{}"));
    return done.id ? done : { errors: errorsOf([{ error: done.message, user_facing_error: done }]) };
  }
  const ending = url.match(/^\/transaction\/([^/]+)\/(commit|rollback)$/);
  if (ending) {
    const done = JSON.parse((await engine[`${ending[2]}Transaction`](ending[1], "{}")) || "{}");
    return done.error_code ? { errors: [{ error: done.message, user_facing_error: done }] } : done;
  }
  if (body.batch) {
    const batch = { batch: body.batch.map((item) => translated(item.query)), ...(body.transaction ? { transaction: {} } : {}) };
    const done = JSON.parse(await engine.query(JSON.stringify(batch), "{}", transaction));
    const errors = done.errors ?? done.batchResult.find((item) => item.errors)?.errors;
    return errors ? { errors: errorsOf(errors) } : { batchResult: done.batchResult.map((item) => answerOf(item)) };
  }
  const query = translated(body.query);
  return answerOf(JSON.parse(await engine.query(JSON.stringify(query), "{}", transaction)), query.action === "queryRaw");
}

const ready = engineOf();
http.createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  let answer;
  try {
    const transaction = request.headers["x-transaction-id"];
    answer = await handled(await ready, request.url.split("?")[0], transaction, Buffer.concat(parts).toString());
  } catch (error) {
    console.error(`query engine: ${error.stack ?? error}`);
    answer = { errors: [{ error: String(error), user_facing_error: { is_panic: false, message: String(error), meta: {}, error_code: "P2010" } }] };
  }
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
}).listen(Number(argument("-p")), "127.0.0.1");
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
process.on("unhandledRejection", (error) => console.error(`query engine: ${error?.stack ?? error}`));
