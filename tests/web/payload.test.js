import assert from "node:assert/strict";
import test from "node:test";

import { complete, planned, secondsOf } from "../../web/report/payload.js";
import { fixture } from "./fixtures.js";

const TYPES = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: Number.isInteger,
  number: (value) => typeof value === "number",
  null: (value) => value === null,
};

/** The part of JSON Schema that payload.schema.json uses. */
function faults(schema, value, path = "payload") {
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length && !types.some((type) => TYPES[type](value))) return [`${path} is no ${types.join(" or ")}`];
  if ("const" in schema && value !== schema.const) return [`${path} is not ${schema.const}`];
  if (schema.minimum > value) return [`${path} is below ${schema.minimum}`];
  if (Array.isArray(value)) return value.flatMap((item, index) => faults(schema.items ?? {}, item, `${path}[${index}]`));
  if (!TYPES.object(value)) return [];
  const missing = (schema.required ?? []).filter((name) => !Object.hasOwn(value, name)).map((name) => `${path}.${name} is missing`);
  const parts = Object.entries(value).flatMap(([name, item]) =>
    faults(schema.properties?.[name] ?? schema.additionalProperties ?? {}, item, `${path}.${name}`),
  );
  return [...missing, ...parts];
}

const schema = fixture("payload.schema");

for (const name of ["small", "expert", "running", "large", "hostile", "lying", "idle", "two_devices"]) {
  test(`${name}.json follows the schema`, () => assert.deepEqual(faults(schema, fixture(name)), []));
}

test("the schema notices what is wrong", () => {
  const small = fixture("small");
  assert.deepEqual(faults(schema, { ...small, schema: 2 }), ["payload.schema is not 1"]);
  assert.deepEqual(faults(schema, { ...small, calls: -1 }), ["payload.calls is below 0"]);
  assert.deepEqual(faults(schema, { ...small, rows: [{}] }).length, schema.properties.rows.items.required.length);
});

test("what is missing from an update is empty, what is there stays", () => {
  const payload = complete({ schema: 1, calls: 3, totals: null, later: "kept" });
  assert.equal(payload.later, "kept");
  assert.equal(payload.calls, 3);
  assert.deepEqual(payload.totals, {});
  assert.deepEqual(payload.rows, []);
  assert.equal(payload.grid, null);
});

test("a grid shows the steps that are still to come, of its own run only", () => {
  const payload = complete(fixture("expert"));
  const begun = { role: "self", run: 1, blocks: 2, steps: 1, row: [[0, 1]], ms: [[1, 2]] };
  const whole = planned(payload, begun);
  assert.equal(whole.steps, 10);
  assert.deepEqual([whole.row[0], whole.row[9], whole.ms[9]], [[0, 1], [-1, -1], [null, null]]);
  assert.equal(planned(payload, { ...begun, run: 2 }).steps, 1);
  assert.equal(planned(payload, payload.grid[0]), payload.grid[0]);
});

test("devices work at the same time: a share is of the run, not of the sum of their times", () => {
  const payload = complete(fixture("two_devices"));
  assert.equal(secondsOf(payload), 3.4);
  const begun = { ...payload, runs: [{ ...payload.runs[0], seconds: 0 }] };
  assert.ok(Math.abs(secondsOf(begun) - 2.5064) < 1e-9);
});
