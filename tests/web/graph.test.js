import assert from "node:assert/strict";
import test from "node:test";

import { nodeAt, nodesIn } from "../../web/graph.js";

const graph = (...nodes) => ({ nodes, getNodeById: (id) => nodes.find((node) => node.id === id) ?? null });
const inner = { id: 7 };
const deep = { id: "9" };
const nested = { id: 8, subgraph: graph(deep) };
const outer = { id: 12, subgraph: graph(inner, nested) };
const root = graph({ id: 1 }, outer);

test("execution ids lead into subgraphs, numbers or strings", () => {
  assert.equal(nodeAt(root, "12"), outer);
  assert.equal(nodeAt(root, "12:7"), inner);
  assert.equal(nodeAt(root, "12:8:9"), deep);
});

test("ids that are not in this graph lead nowhere", () => {
  for (const id of ["2", "1:7", "12:99", "12:7:1", "", "a:b", null, undefined]) assert.equal(nodeAt(root, id), null, String(id));
  assert.equal(nodeAt(null, "1"), null);
});

test("walking a graph gives every node its execution id", () => {
  assert.deepEqual([...nodesIn(root)].map(([id]) => id), ["1", "12", "12:7", "12:8", "12:8:9"]);
});
