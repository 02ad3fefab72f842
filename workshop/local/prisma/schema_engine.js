#!/usr/bin/env node
// Prisma's schema engine, as far as `prisma migrate deploy` asks it, where no engine binary can be downloaded.
//
// The command line starts this program and speaks JSON-RPC with it, a message a line. It has the same SQL to run, in the
// same order, and keeps the same list of what was run (_prisma_migrations); anything else it is asked is an error.
"use strict";
const { execFileSync } = require("node:child_process"), crypto = require("node:crypto"), fs = require("node:fs"), path = require("node:path"), readline = require("node:readline");

// The commit of Prisma 5.17.0.
const COMMIT = "393aa359c9ad4a4bb28630fb5613f9c281cde053";
if (process.argv.includes("--version")) {
  console.log(`schema-engine-cli ${COMMIT}`);
  process.exit(0);
}

const { Client } = require(require.resolve("pg", { paths: [process.env.QUERY_ENGINE_MODULES] }));
// As schema-engine 5.17.0 makes it.
const LEDGER = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
  id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
  migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
  started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0)`;
const EMPTY = "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LIMIT 1";
const DONE = "SELECT migration_name, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL";

class Known extends Error {
  constructor(code, message, meta = {}) { super(message); this.data = { is_panic: false, error_code: code, message, meta }; }
}

async function connected(url, work) {
  const client = new Client({ connectionString: url.split("?")[0], connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
  } catch (error) {
    throw new Known("P1001", `Can't reach database server: ${error.code ?? error.message}`);
  }
  try { return await work(client); } finally { await client.end(); }
}

const migrations = (folder) => fs.readdirSync(folder).sort().filter((name) => fs.existsSync(path.join(folder, name, "migration.sql")));

// PyPI has no migrations for the newest tables of the installed LiteLLM: they come from its data model. Nothing else does.
async function complete(client) {
  const models = [...fs.readFileSync(process.env.INSTALLED_SCHEMA, "utf8").matchAll(/^model (\w+) /gm)].map(([, name]) => name);
  const types = await client.query("SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace");
  const present = new Set(types.rows.map((row) => row.typname));
  if (models.every((name) => present.has(name))) return;
  const root = path.dirname(process.env.QUERY_ENGINE_MODULES);
  const words = ["migrate", "diff", "--from-empty", "--script", "--to-schema-datamodel", process.env.INSTALLED_SCHEMA];
  const script = execFileSync(process.execPath, [
    path.join(root, "node_modules/prisma-6/build/index.js"), ...words, "--config", path.join(root, "prisma.config.mjs"),
  ], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const about = /^(?:CREATE TYPE|CREATE TABLE|ALTER TABLE|CREATE (?:UNIQUE )?INDEX "\w+" ON) "(\w+)"/m;
  const statements = script.split(/;\s*\n/).filter((text) => !present.has(about.exec(text)?.[1]) && about.test(text));
  await client.query(statements.join(";\n"));
}

async function deploy(client, folder) {
  const ledger = (await client.query("SELECT to_regclass('public._prisma_migrations') AS there")).rows[0].there;
  if (!ledger && (await client.query(EMPTY)).rowCount) throw new Known("P3005", "The database schema is not empty.");
  await client.query(LEDGER);
  const rows = (await client.query(DONE)).rows, applied = [];
  const failed = rows.find((row) => row.finished_at === null);
  if (failed) throw new Known("P3009", `The \`${failed.migration_name}\` migration failed`, { details: failed.migration_name });
  const done = new Set(rows.map((row) => row.migration_name));
  for (const name of migrations(folder).filter((name) => !done.has(name))) {
    const sql = fs.readFileSync(path.join(folder, name, "migration.sql"), "utf8"), id = crypto.randomUUID();
    const checksum = crypto.createHash("sha256").update(sql).digest("hex");
    await client.query("INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ($1, $2, $3)", [id, checksum, name]);
    try {
      await client.query(sql);
    } catch (error) {
      await client.query("UPDATE _prisma_migrations SET logs = $2 WHERE id = $1", [id, error.message]);
      throw new Known("P3018", `A migration failed to apply. Migration name: ${name}\n\nDatabase error: ${error.message}`, { migration_name: name });
    }
    await client.query("UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = $1", [id]);
    applied.push(name);
  }
  await complete(client);
  return { appliedMigrationNames: applied };
}

const METHODS = {
  listMigrationDirectories: async ({ migrationsDirectoryPath }) => ({ migrations: migrations(migrationsDirectoryPath) }),
  applyMigrations: ({ migrationsDirectoryPath }) => connected(process.env.DATABASE_URL, (client) => deploy(client, migrationsDirectoryPath)),
};

async function answer({ id, method, params }) {
  try {
    if (!(method in METHODS)) throw new Error(`this schema engine does not know ${method}`);
    return { jsonrpc: "2.0", id, result: await METHODS[method](params) };
  } catch (error) {
    return { jsonrpc: "2.0", id, error: { code: 4466, message: error.message, data: error.data ?? { is_panic: false, message: error.message } } };
  }
}

async function main() {
  const [mode, , url, command] = process.argv.slice(2);
  if (mode === "cli") {
    if (command !== "can-connect-to-database") throw new Error(`this schema engine does not know ${command}`);
    return connected(url, () => {});
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}
main().catch((error) => { console.error(error.message); process.exit(1); });
