import assert from "node:assert/strict";
import test from "node:test";

import { createKept } from "../../web/kept.js";
import { createRuns, inHistory, toldBy } from "../../web/runs.js";
import { createStore } from "../../web/store.js";
import { failureIn, reportsOf } from "../../web/views/failure.js";
import { sortMistakes } from "../../web/views/mistakes.js";

/** A host's user data and the setting that names its files. */
function host() {
  const files = new Map();
  let ids = [];
  return {
    files,
    read: async (name) => files.get(name) ?? null,
    write: async (name, data) => void files.set(name, structuredClone(data)),
    known: () => ids,
    note: async (now) => void (ids = now),
  };
}

const empty = () => createStore(() => ({ getItem: () => null, setItem() {} }));
const nodes = [{ id: 1 }, { id: 2 }];
const root = { nodes, getNodeById: (id) => nodes.find((node) => String(node.id) === String(id)) ?? null };
const workflow = (history = {}) => ({ id: () => "w", root: () => root, watched: () => true, history: async () => history });
const finished = (node) => ({ schema: 1, node, state: "finished" });
const run = (id, outputs) => ({ prompt: [0, "", {}, { extra_pnginfo: { workflow: { id } } }], outputs });

test("what ended is kept and comes back in another browser, what runs is not", async () => {
  const disk = host();
  const one = createRuns(empty(), createKept(disk), workflow());
  one.remember(finished("1"));
  one.remember({ schema: 1, node: "2", state: "running" });
  await one.keep();
  assert.deepEqual([...disk.files.keys()], ["wanattn/w.json"]);
  const other = createRuns(empty(), createKept(disk), workflow());
  assert.deepEqual(await other.unseen(), [finished("1")]);
  other.remember(finished("1"));
  assert.deepEqual(await other.unseen(), []);
});

test("no file is asked for that was never written, and old workflows are forgotten", async () => {
  const disk = host();
  const kept = createKept({ ...disk, read: async () => assert.fail("asked") });
  assert.deepEqual(await kept.recall("w"), []);
  for (let index = 0; index < 40; index += 1) await createKept(disk).keep(`w${index}`, [finished("1")]);
  assert.equal(disk.known().length, 30);
  assert.equal(disk.known()[0], "w39");
});

test("the server's history has the reports of this workflow, the newest first", () => {
  const report = { text: ["asked flash"], wanattn: [finished("2")] };
  const history = { a: run("w", { 9: { ...report, text: ["old"] } }), b: run("other", { 9: report }), c: run("w", { 9: report }) };
  const found = inHistory(history, "w");
  assert.deepEqual(found.map((told) => told.text ?? told.node), ["2", "asked flash", "2", "old"]);
});

test("an output is told apart: payloads of this schema, and a report's own words", () => {
  assert.deepEqual(toldBy("9", { text: ["x"] }), []);
  assert.deepEqual(toldBy("9", { wanattn: [{ schema: 7 }] }), []);
  assert.deepEqual(toldBy("9", { wanattn: [finished("2")], text: ["x"] }).at(-1), { node: "9", text: "x", payload: finished("2"), picture: null });
});

test("the host's own event of a failed run is read for what stopped it", () => {
  const message = "Attention Backend 'cudnn' cannot run this call.\n  self query 1x2x320x128\n  cudnn: cuDNN does not exist on cpu\nSet on_refusal to 'next best'.";
  assert.deepEqual(failureIn({ exception_message: message }), { sentence: "cuDNN does not exist on cpu", advice: "Set on_refusal to 'next best'." });
  assert.deepEqual(failureIn({ exception_message: "CUDA out of memory\nmore" }), { sentence: "CUDA out of memory" });
  assert.deepEqual(failureIn({ exception_type: "torch.OutOfMemoryError" }), { sentence: "OutOfMemoryError" });
  assert.deepEqual(failureIn({}), { sentence: "the run failed" });
});

test("the reports of a node are those that its model reaches", () => {
  const report = { comfyClass: "WanAttnReport", inputs: [{ type: "MODEL" }], outputs: [] };
  const other = { comfyClass: "WanAttnReport", inputs: [{ type: "LATENT" }], outputs: [] };
  const graph = { getLink: (id) => ({ target_id: id, target_slot: 0 }), getNodeById: (id) => [report, other][id] };
  assert.deepEqual(reportsOf({ graph, outputs: [{ links: [0, 1] }] }), [report]);
});

test("each field keeps the lines that name it, and a field without one loses its mark", () => {
  const mistake = (name, text) => ({ details: `${name} - ${text}`, extra_info: { input_name: name } });
  const told = "blocks: 'x' is no range\nsteps: range 5-1 runs backwards";
  const nodes = {
    3: { class_type: "WanAttnRule", errors: [mistake("blocks", told), mistake("steps", told)] },
    4: { class_type: "WanAttnBenchmark", errors: ["width", "frames"].map((name) => mistake(name, "frames 80, needs 4n+1")) },
    6: { class_type: "WanAttnBenchmark", errors: ["frames", "backends"].map((name) => mistake(name, "unknown backend 'sage9'")) },
    5: { class_type: "Another", errors: [mistake("a", told)] },
  };
  const foreign = structuredClone(nodes[5]);
  assert.equal(sortMistakes(nodes), true);
  assert.deepEqual(nodes[3].errors.map(({ details }) => details), ["blocks - 'x' is no range", "steps - range 5-1 runs backwards"]);
  assert.deepEqual(nodes[4].errors.map(({ details }) => details), ["frames - frames 80, needs 4n+1"]);
  assert.deepEqual(nodes[6].errors.map(({ details }) => details), ["backends - unknown backend 'sage9'"]);
  assert.deepEqual(nodes[5], foreign);
  assert.equal(sortMistakes(nodes), false);
});
