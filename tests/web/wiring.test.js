import assert from "node:assert/strict";
import test from "node:test";

import { added, removed } from "../../web/views/commands.js";
import { addAttention, removeAttention } from "../../web/wiring.js";
import { graphsOf } from "../../web/workflow.js";

const slot = (name, type, link = null) => ({ name, type, link });
const out = (name, type, ...links) => ({ name, type, links });
const node = (id, type, inputs, outputs, extra = {}) => ({ id, type, order: id, mode: 0, pos: [id * 300, 0], size: [200, 100], inputs, outputs, ...extra });
const loader = (id, file, ...links) => node(id, "UNETLoader", [], [out("MODEL", "MODEL", ...links)], { widgets_values: [file, "default"] });
const sampler = (id, link, latent) => node(id, "KSampler", [slot("model", "MODEL", link)], [out("LATENT", "LATENT", latent)]);
const decoder = (id, link) => node(id, "VAEDecode", [slot("samples", "LATENT", link)], []);

/** A loader, a sampler and what comes after it. */
const simple = (file = "wan2.2_t2v_high_noise_14B.safetensors", mode = 0) => ({
  last_node_id: 3, last_link_id: 2, groups: [],
  nodes: [loader(1, file, 1), { ...sampler(2, 1, 2), mode }, decoder(3, 2)],
  links: [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "LATENT"]],
});

/** The same inside a subgraph, whose model comes from outside. */
const nested = () => ({
  last_node_id: 2, last_link_id: 9, groups: [],
  nodes: [loader(1, "wan2.2_t2v_low_noise_14B.safetensors", 9), node(2, "inside", [slot("model", "MODEL", 9)], [out("LATENT", "LATENT")])],
  links: [[9, 1, 0, 2, 0, "MODEL"]],
  definitions: {
    subgraphs: [{
      id: "inside", state: { lastNodeId: 1, lastLinkId: 2 }, groups: [],
      inputs: [{ name: "model", type: "MODEL", linkIds: [1] }], outputs: [{ name: "LATENT", type: "LATENT", linkIds: [2] }],
      nodes: [sampler(1, 1, 2)],
      links: [
        { id: 1, origin_id: -10, origin_slot: 0, target_id: 1, target_slot: 0, type: "MODEL" },
        { id: 2, origin_id: 1, origin_slot: 0, target_id: -20, target_slot: 0, type: "LATENT" },
      ],
    }],
  },
});

/** Every link as "type.output -> type.input", and a check that both ends know of it. */
function wires(workflow, id = "") {
  const graph = graphsOf(workflow).get(id);
  const names = new Map([[-10, "in"], [-20, "out"]]);
  return [...graph.links.values()].map((link) => {
    const [from, to] = [graph.node(link.from), graph.node(link.to)];
    const known = from ? from.outputs[link.output].links : graph.data.inputs[link.output].linkIds;
    assert.ok(known.includes(link.id));
    assert.ok(to ? to.inputs[link.input].link === link.id : graph.data.outputs[link.input].linkIds.includes(link.id));
    const name = (end, node) => node?.type.replace("WanAttn", "") ?? names.get(end);
    return `${name(link.from, from)} -> ${name(link.to, to)}.${to?.inputs[link.input].name ?? ""}`;
  }).sort();
}

test("a backend goes on the last model link before the sampler", () => {
  const workflow = simple();
  assert.deepEqual(addAttention(workflow), { wired: 1, before: 0, others: [] });
  assert.deepEqual(wires(workflow), ["Backend -> KSampler.model", "KSampler -> VAEDecode.samples", "UNETLoader -> Backend.model"]);
  assert.match(workflow.nodes.at(-1).title, /high noise/);
});

test("panel and report come with it when asked for, and the report before what uses the latent", () => {
  const workflow = simple();
  addAttention(workflow, { diagnostics: true, report: true });
  assert.deepEqual(wires(workflow), [
    "Backend -> Diagnostics.model", "Diagnostics -> KSampler.model", "Diagnostics -> Report.model",
    "KSampler -> Report.after", "Report -> VAEDecode.samples", "UNETLoader -> Backend.model",
  ]);
});

test("a second time adds nothing but what is missing", () => {
  const workflow = simple();
  addAttention(workflow);
  const before = JSON.stringify(workflow);
  assert.deepEqual(addAttention(workflow), { wired: 0, before: 1, others: [] });
  assert.equal(JSON.stringify(workflow), before);
  assert.equal(addAttention(workflow, { diagnostics: true }).wired, 1);
  assert.ok(wires(workflow).includes("Backend -> Diagnostics.model"));
});

test("inside a subgraph the links to its edges stay", () => {
  const workflow = nested();
  assert.equal(addAttention(workflow, { diagnostics: true, report: true }).wired, 1);
  assert.deepEqual(wires(workflow), ["UNETLoader -> inside.model"]);
  assert.deepEqual(wires(workflow, "inside"), [
    "Backend -> Diagnostics.model", "Diagnostics -> KSampler.model", "Diagnostics -> Report.model",
    "KSampler -> Report.after", "Report -> out.", "in -> Backend.model",
  ]);
  const ids = [workflow, ...workflow.definitions.subgraphs].flatMap(({ nodes }) => nodes.slice(-2).map(({ id }) => id));
  assert.ok(Math.min(...workflow.definitions.subgraphs[0].nodes.slice(1).map(({ id }) => id)) > 2, String(ids));
});

test("removing leads every link back to where it was", () => {
  for (const [make, id] of [[simple, ""], [nested, "inside"]]) {
    const workflow = make();
    addAttention(workflow, { diagnostics: true, report: true });
    assert.equal(removeAttention(workflow), 3);
    assert.deepEqual(wires(workflow, id), wires(make(), id));
    assert.deepEqual([...graphsOf(workflow).get(id).nodes.keys()], [...graphsOf(make()).get(id).nodes.keys()]);
  }
});

test("two samplers of one model share a backend, and another model's sampler is left alone", () => {
  const workflow = simple();
  workflow.nodes.push(sampler(4, 3, 4), loader(5, "flux1-dev.safetensors", 5), sampler(6, 5, 6));
  workflow.nodes[0].outputs[0].links.push(3);
  workflow.nodes[3].outputs[0].links = [];
  workflow.nodes[5].outputs[0].links = [];
  workflow.links.push([3, 1, 0, 4, 0, "MODEL"], [5, 5, 0, 6, 0, "MODEL"]);
  assert.deepEqual(addAttention(workflow), { wired: 1, before: 0, others: ["flux1-dev.safetensors"] });
  assert.equal(wires(workflow).filter((wire) => wire === "Backend -> KSampler.model").length, 2);
});

test("a node that was pointed at is taken whatever its file is called", () => {
  const workflow = simple("my_finetune.safetensors");
  assert.equal(addAttention(structuredClone(workflow)).wired, 0);
  assert.equal(addAttention(structuredClone(workflow), { from: { graph: "", node: "1" } }).wired, 1);
  assert.equal(addAttention(workflow, { from: { graph: "", node: 3 } }).wired, 0);
});

test("what is put before a bypassed sampler is bypassed too", () => {
  const workflow = simple(undefined, 4);
  addAttention(workflow, { report: true });
  assert.deepEqual(workflow.nodes.slice(3).map(({ mode }) => mode), [4, 4]);
});

test("nothing new lies on anything old, and a group says whose it is", () => {
  const workflow = simple();
  addAttention(workflow, { diagnostics: true, report: true });
  const boxes = workflow.nodes.map(({ pos, size }) => [pos[0], pos[1], pos[0] + size[0], pos[1] + size[1]]);
  for (const [at, one] of boxes.entries()) {
    for (const other of boxes.slice(at + 1)) assert.ok(one[2] <= other[0] || other[2] <= one[0] || one[3] <= other[1] || other[3] <= one[1]);
  }
  assert.deepEqual(workflow.groups.map(({ title }) => title), ["Wan Attention"]);
});

test("every outcome is a sentence", () => {
  assert.match(added({ wired: 2, before: 0, others: ["flux.safetensors"] }).text, /added to 2 models.*flux\.safetensors/);
  assert.match(added({ wired: 0, before: 1, others: [] }).text, /already/);
  assert.equal(added({ wired: 0, before: 0, others: [] }).severity, "warn");
  assert.match(removed(3).text, /^3 nodes of .* back/);
  assert.equal(removed(0).severity, "info");
});
