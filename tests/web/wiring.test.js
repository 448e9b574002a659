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
  assert.deepEqual(addAttention(workflow), { wired: 1, before: 0, others: [], strange: [] });
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
  assert.deepEqual(addAttention(workflow), { wired: 0, before: 1, others: [], strange: [] });
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
  assert.deepEqual(addAttention(workflow), { wired: 1, before: 0, others: ["flux1-dev.safetensors"], strange: [] });
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

/** WanVideoWrapper's two experts, each with a loader, the sampler and what decodes. */
const wrapped = () => ({
  last_node_id: 5, last_link_id: 5, groups: [],
  nodes: [
    node(1, "WanVideoModelLoader", [slot("lora", "WANVIDLORA")], [out("model", "WANVIDEOMODEL", 1)], { widgets_values: ["low_noise.safetensors"] }),
    node(2, "WanVideoModelLoader", [slot("lora", "WANVIDLORA")], [out("model", "WANVIDEOMODEL", 2)], { widgets_values: ["high_noise.safetensors"] }),
    node(3, "WanVideoSampler", [slot("model", "WANVIDEOMODEL", 2), slot("samples", "LATENT")], [out("samples", "LATENT", 3), out("denoised_samples", "LATENT")]),
    node(4, "WanVideoSampler", [slot("model", "WANVIDEOMODEL", 1), slot("samples", "LATENT", 3)], [out("samples", "LATENT", 4), out("denoised_samples", "LATENT")]),
    node(5, "WanVideoDecode", [slot("samples", "LATENT", 4)], []),
  ],
  links: [[1, 1, 0, 4, 0, "WANVIDEOMODEL"], [2, 2, 0, 3, 0, "WANVIDEOMODEL"], [3, 3, 0, 4, 1, "LATENT"], [4, 4, 0, 5, 0, "LATENT"]],
});

/** Two samplers of Raylight with the same actors, and a decoder that takes them too. */
const ranked = () => ({
  last_node_id: 6, last_link_id: 7, groups: [],
  nodes: [
    node(1, "RayInitializer", [], [out("ray_actors_init", "RAY_ACTORS_INIT", 1)]),
    node(2, "RayUNETLoader", [slot("ray_actors_init", "RAY_ACTORS_INIT", 1)], [out("ray_actors", "RAY_ACTORS", 2)], { widgets_values: ["wan2.2_ti2v_5B.safetensors"] }),
    node(3, "RayModelSamplingSD3", [slot("ray_actors", "RAY_ACTORS", 2)], [out("ray_actors", "RAY_ACTORS", 3)]),
    node(4, "XFuserKSamplerAdvanced", [slot("ray_actors", "RAY_ACTORS", 3)], [out("latent", "LATENT", 4), out("ray_actors", "RAY_ACTORS", 5)]),
    node(5, "XFuserKSamplerAdvanced", [slot("ray_actors", "RAY_ACTORS", 5), slot("latent_image", "LATENT", 4)], [out("latent", "LATENT", 6), out("ray_actors", "RAY_ACTORS", 7)]),
    node(6, "RayVAEDecodeDistributed", [slot("ray_actors", "RAY_ACTORS", 7), slot("samples", "LATENT", 6)], [out("IMAGE", "IMAGE")]),
  ],
  links: [
    [1, 1, 0, 2, 0, "RAY_ACTORS_INIT"], [2, 2, 0, 3, 0, "RAY_ACTORS"], [3, 3, 0, 4, 0, "RAY_ACTORS"], [4, 4, 0, 5, 1, "LATENT"],
    [5, 4, 1, 5, 0, "RAY_ACTORS"], [6, 5, 0, 6, 1, "LATENT"], [7, 5, 1, 6, 0, "RAY_ACTORS"],
  ],
});

test("models of WanVideoWrapper get its own nodes, the expert of high noise first, and give them back", () => {
  const workflow = wrapped();
  assert.deepEqual(addAttention(workflow, { diagnostics: true, report: true }), { wired: 2, before: 0, others: [], strange: [] });
  assert.deepEqual(wires(workflow).filter((wire) => !wire.includes("WrapperBackend")), [
    "Report -> WanVideoDecode.samples", "Report -> WanVideoSampler.samples", "WanVideoSampler -> Report.after", "WanVideoSampler -> Report.after",
    "WrapperDiagnostics -> Report.model", "WrapperDiagnostics -> Report.model", "WrapperDiagnostics -> WanVideoSampler.model", "WrapperDiagnostics -> WanVideoSampler.model",
  ]);
  assert.deepEqual(wires(workflow).filter((wire) => wire.includes("WrapperBackend")).slice(0, 2), ["WanVideoModelLoader -> WrapperBackend.model", "WanVideoModelLoader -> WrapperBackend.model"]);
  assert.match(workflow.nodes[5].title, /high noise/);
  assert.equal(workflow.nodes[7].inputs[0].type, "MODEL,WANVIDEOMODEL");
  assert.deepEqual(workflow.links.filter(([, , , , , type]) => type === "MODEL"), []);
  assert.equal(removeAttention(workflow), 6);
  assert.deepEqual(wires(workflow), wires(wrapped()));
});

test("actors that go round in a loop, which the page lets be wired, end the search, and are as before when removed", () => {
  const workflow = ranked();
  workflow.links[1] = [2, 5, 1, 3, 0, "RAY_ACTORS"];
  workflow.nodes[1].outputs[0].links = [];
  workflow.nodes[4].outputs[1].links.push(2);
  const before = wires(workflow);
  addAttention(workflow);
  removeAttention(workflow);
  assert.deepEqual(wires(workflow), before);
});

test("Raylight's actors pass one backend before the first sampler, and one report after the last", () => {
  const workflow = ranked();
  assert.equal(addAttention(workflow, { diagnostics: true, report: true }).wired, 1);
  assert.deepEqual(workflow.nodes.slice(6).map(({ type }) => type), ["WanAttnRayBackend", "WanAttnRayReport"]);
  assert.deepEqual(wires(workflow).filter((wire) => /Ray(Backend|Report)/.test(wire)), [
    "RayBackend -> XFuserKSamplerAdvanced.ray_actors", "RayModelSamplingSD3 -> RayBackend.ray_actors",
    "RayReport -> RayVAEDecodeDistributed.ray_actors", "XFuserKSamplerAdvanced -> RayReport.ray_actors",
  ]);
  const before = JSON.stringify(workflow);
  assert.deepEqual(addAttention(workflow, { diagnostics: true, report: true }), { wired: 0, before: 1, others: [], strange: [] });
  assert.equal(JSON.stringify(workflow), before);
  assert.equal(removeAttention(workflow), 2);
  assert.deepEqual(wires(workflow), wires(ranked()));
});

test("another model than Wan on Raylight is left alone, and so is a pack that the page does not know", () => {
  const flux = ranked();
  flux.nodes[1].widgets_values = ["flux1-dev.safetensors"];
  assert.equal(addAttention(flux).wired, 0);
  const workflow = wrapped();
  const known = (type) => type === "WanAttnBackend";
  assert.deepEqual(addAttention(workflow, { known }), { wired: 0, before: 0, others: [], strange: ["WanVideoSampler", "WanVideoSampler"] });
  assert.deepEqual(workflow, wrapped());
});

test("every outcome is a sentence", () => {
  assert.match(added({ wired: 0, before: 0, others: [], strange: ["WanVideoSampler", "WanVideoSampler"] }).text, /its pack is not installed: WanVideoSampler\.$/);
  assert.match(added({ wired: 2, before: 0, others: ["flux.safetensors"] }).text, /added to 2 models.*flux\.safetensors/);
  assert.match(added({ wired: 0, before: 1, others: [] }).text, /already/);
  assert.equal(added({ wired: 0, before: 0, others: [] }).severity, "warn");
  assert.match(removed(3).text, /^3 nodes of .* back/);
  assert.equal(removed(0).severity, "info");
});
