import assert from "node:assert/strict";
import { test } from "node:test";
import { putPromoted, takePromoted } from "../../web/promoted.js";

const proxyWidgets = [["-1", "unet_name_1"], ["-1", "steps"], ["89", "text"]];

function saved(values = ["low.safetensors", 20], proxies = proxyWidgets) {
  return { nodes: [{ id: 128, type: "inside", properties: { proxyWidgets: proxies }, widgets_values: values }], definitions: { subgraphs: [{ id: "inside", nodes: [] }] } };
}

function live(values) {
  const widgets = Object.entries(values).map(([name, value]) => ({ name, value }));
  const root = { nodes: [{ id: 128, widgets }] };
  root.nodes[0].graph = root;
  root.getNodeById = (id) => root.nodes.find((node) => node.id === id);
  return root;
}

test("what a page would give back by position is taken from it and given back by name", () => {
  const workflow = saved();
  const taken = takePromoted(workflow);
  const root = live({ text: "my words", steps: 4, unet_name_1: "" });
  putPromoted(root, taken);

  assert.deepEqual(workflow.nodes[0].widgets_values, []);
  assert.deepEqual(root.nodes[0].widgets, [{ name: "text", value: "my words" }, { name: "steps", value: 20 }, { name: "unet_name_1", value: "low.safetensors" }]);
});

test("a subgraph's node inside a subgraph keeps its own too", () => {
  const workflow = { nodes: [], definitions: { subgraphs: [{ id: "outer", nodes: saved().nodes }] } };

  assert.deepEqual(takePromoted(workflow).map(({ graph, node }) => [graph, node]), [["outer", "128"]]);
});

test("a page that saves every value in order keeps them", () => {
  for (const workflow of [saved(["low", 20], null), saved(["words", "low", 20]), saved(["words"], [["89", "text"]])]) {
    const before = structuredClone(workflow);

    assert.deepEqual(takePromoted(workflow), []);
    assert.deepEqual(workflow, before);
  }
});
