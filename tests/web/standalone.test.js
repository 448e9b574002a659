import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";

import { MODULES, compose } from "../../web/standalone.js";
import { fixture } from "./fixtures.js";

const WEB = new URL("../../web/", import.meta.url);
const read = (name) => readFileSync(new URL(name, WEB), "utf8");
const module = (name) => read(`report/${name}`);
const sources = Object.fromEntries(MODULES.map((name) => [name, module(name)]));
const page = (payload) => compose(read("report.html"), sources, payload);

test("the report carries every module that its page imports", () => {
  const needed = new Set(["page.js"]);
  for (const name of needed) {
    for (const [, found] of module(name).matchAll(/from "\.\/([^"]+)"/g)) needed.add(found);
  }
  assert.deepEqual(MODULES, [...needed].sort());
});

test("the payload comes back from the file as it was, and ends no script element", () => {
  const payload = fixture("hostile");
  const text = page(payload);
  const [, data] = text.match(/id="wanattn-payload">([^<]*)<\/script>/);
  assert.deepEqual(JSON.parse(data), payload);
  assert.equal(text.split("</script>").length, page({}).split("</script>").length);
  assert.ok(!/[\u2028\u2029]/.test(text));
});

test("every module in the file is the one of this folder, but for the names it imports", () => {
  const [, map] = page({}).match(/type="importmap">([^<]*)<\/script>/);
  const { imports } = JSON.parse(map);
  assert.deepEqual(Object.keys(imports), MODULES.map((name) => `wanattn/${name}`));
  for (const name of MODULES) {
    const source = decodeURIComponent(imports[`wanattn/${name}`].replace("data:text/javascript,", ""));
    assert.equal(source.replaceAll('from "wanattn/', 'from "./'), module(name));
  }
});

test("only main.js touches the host, and no module does anything when it is imported", async () => {
  const names = readdirSync(WEB, { recursive: true });
  for (const name of names.filter((each) => each.endsWith(".js") && each !== "main.js")) {
    assert.ok(!read(name).includes("scripts/"), name);
    await import(new URL(name, WEB)); // Node has no document: a module that touched it would throw here
  }
});
