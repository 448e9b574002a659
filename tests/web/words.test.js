import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";

import { cellFacts, gridLines, gridSentence, stepsOf } from "../../web/report/cells.js";
import { shortened } from "../../web/report/dom.js";
import { accountSentence, deviceLines, environmentLine, kind, peak, placeText } from "../../web/report/format.js";
import { complete } from "../../web/report/payload.js";
import { inEnglish, speak, word } from "../../web/report/words.js";
import { fixture } from "./fixtures.js";

const WEB = new URL("../../web/", import.meta.url);
const LOCALES = new URL("../../locales/", import.meta.url);
const read = (language, file) => JSON.parse(readFileSync(new URL(`${language}/${file}.json`, LOCALES), "utf8"));
const OTHERS = readdirSync(LOCALES).filter((name) => name !== "en");
const english = read("en", "main").wanattn;
const sources = readdirSync(WEB, { recursive: true }).filter((name) => name.endsWith(".js")).map((name) => readFileSync(new URL(name, WEB), "utf8")).join("\n");
const shape = (value) => (value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shape(each)])) : "");

test("words come in the language that is spoken, with their values, and in English where it has none", () => {
  speak({ "step {0} of 0–{1}": "第 {0} 步，共 0–{1}" });
  assert.equal(word("step {0} of 0–{1}", 2, 9), "第 2 步，共 0–9");
  assert.equal(word("constructor"), "constructor");
  assert.equal(word("{0} calls", "1,600"), "1,600 calls");
  speak({});
  assert.equal(word("step {0} of 0–{1}", 2, 9), "step 2 of 0–9");
});

test("what is made for others is in English, whatever language is spoken", () => {
  speak({ "{0} calls": "{0} 次调用" });
  assert.equal(inEnglish(() => word("{0} calls", 3)), "3 calls");
  assert.throws(() => inEnglish(() => { throw new Error("no report"); }), /no report/);
  assert.equal(word("{0} calls", 3), "3 次调用");
  speak({});
});

test("everything that the page says through word() is in the list of words", () => {
  const said = [...sources.matchAll(/\bword\(\s*"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text);
  assert.ok(said.length > 30);
  assert.deepEqual(said.filter((text) => !(text in english)), []);
});

test("every listed word is somewhere in the page's sources", () => {
  const parts = new Set(["step", "call", "frame", "token", "key", "head", "row"].flatMap((noun) => [`{0} ${noun}`, `{0} ${noun}s`])); // put together from a noun
  const lost = Object.keys(english).filter((text) => !parts.has(text) && !sources.includes(`"${text}"`));
  assert.deepEqual(lost, []);
});

test("every language has every word, with the same values in it", () => {
  assert.ok(OTHERS.length >= 3);
  for (const language of OTHERS) {
    const words = read(language, "main").wanattn;
    assert.deepEqual(Object.keys(words), Object.keys(english), language);
    for (const [key, text] of Object.entries(words)) {
      assert.deepEqual([...text.matchAll(/\{\d\}/g)].map(String).sort(), [...key.matchAll(/\{\d\}/g)].map(String).sort(), `${language}: ${key}`);
      assert.ok(text.trim(), key);
    }
  }
});

test("nodes, settings and commands have the same keys in every language", () => {
  for (const file of ["nodeDefs", "settings", "commands"]) {
    for (const language of OTHERS) assert.deepEqual(shape(read(language, file)), shape(read(OTHERS[0], file)), `${language} ${file}`);
  }
});

test("what the panel says of grids, calls and devices is in the language that is spoken", () => {
  const payload = complete(fixture("two_devices"));
  const row = { ...payload.rows[0], kv_len: 512, mask: "bool" };
  const [grid] = payload.grid;
  const parts = Array.from({ length: 5 }, (_, position) => ({ calls: 2, role: "self", how: "9", ran: position % 2 ? "math" : "" }));
  speak(Object.fromEntries(Object.keys(english).map((key) => [key, key.toUpperCase()])));
  const told = [
    gridSentence(grid, payload.rows), gridSentence({ ...grid, row: [] }, payload.rows), ...gridLines(grid, payload.rows),
    stepsOf(grid, 0), stepsOf({ stride: 10 }, 0), ...cellFacts({ ...payload, devices: undefined, rows: [] }, grid, 0, 0).map((fact) => fact.text),
    kind(row), ...deviceLines(payload), peak({ peak_gib: 3 }), placeText({ device: "7", rank: 1 }), environmentLine({ environment: { host_attention: "9" } }),
    accountSentence({ ...payload, account: { calls: 10, hooked: 0, past: parts } }), complete({ calls: "many" }).fault.split(":")[0], ...shortened(["1", "2"], 1),
  ].join(" ");
  speak({});
  const names = new Set(["self", "text", "math", "flash", "efficient", "bf", "fp", "cuda", "bool", "s"]);
  const small = (told.match(/(?<![\d.A-Z])[a-z][a-z-]*/g) ?? []).filter((name) => !names.has(name));
  assert.deepEqual(small, []);
});
