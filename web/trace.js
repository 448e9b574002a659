// @ts-check
/** @typedef {import("./workflow.js").Graph} Graph */
/** @typedef {import("./workflow.js").Node} Node */
/** @typedef {import("./workflow.js").Link} Link */
/** @typedef {{graph: string, node: Node, input: number, kind: string}} Sampler `kind` is what the link into it carries */

import { INPUT_NODE, OUTPUT_NODE } from "./workflow.js";

export const MODEL = "MODEL";
export const WRAPPED = "WANVIDEOMODEL"; // of WanVideoWrapper
export const ACTORS = "RAY_ACTORS"; // of Raylight, whose samplers hand them on
export const MODELS = [MODEL, WRAPPED, ACTORS];
const SAMPLES = ["LATENT", "GUIDER"];
const FILE = /\.(safetensors|sft|gguf|ckpt|pth?|bin)$/i;

/** Samplers of one graph, those of one model together. @param {Map<string, Graph>} graphs @param {string} id @returns {Sampler[][]} */
export function samplersOf(graphs, id) {
  const graph = /** @type {Graph} */ (graphs.get(id));
  /** @type {Map<string, Sampler[]>} */
  const found = new Map();
  for (const node of [...graph.nodes.values()].sort((left, right) => (left.order ?? 0) - (right.order ?? 0))) {
    const input = (node.inputs ?? []).findIndex(({ type }) => MODELS.includes(type));
    const link = input < 0 || !samples(graphs, node) ? null : graph.into(node, input);
    if (!link) continue;
    const { from, output } = start(graphs, graph, link);
    const key = `${from}:${output}`;
    found.set(key, [...(found.get(key) ?? []), { graph: id, node, input, kind: /** @type {import("./workflow.js").Slot[]} */ (node.inputs)[input].type }]);
  }
  return [...found.values()];
}

/** The link into the first sampler that has a link's actors; a link itself where no sampler had them before. @param {Map<string, Graph>} graphs
 * @param {Graph} graph @param {Link} link */
function start(graphs, graph, link) {
  let first = link;
  const seen = new Set(); // the page lets a loop be wired
  for (let at = /** @type {Link | null} */ (link); at && !seen.has(at.id); ) {
    seen.add(at.id);
    const node = graph.node(at.from);
    const input = (node?.inputs ?? []).findIndex(({ type }) => type === ACTORS);
    at = node && input >= 0 ? graph.into(node, input) : null;
    if (at && node && samples(graphs, node)) first = at;
  }
  return first;
}

/** Whether a node takes a model in order to sample with it. @param {Map<string, Graph>} graphs @param {Node} node */
function samples(graphs, node) {
  const types = (node.outputs ?? []).map(({ type }) => type);
  return !graphs.has(node.type) && !node.type.startsWith("WanAttn") && ![MODEL, WRAPPED].some((type) => types.includes(type)) && types.some((type) => SAMPLES.includes(type));
}

/** The nodes that a sampler's model comes through, nearest first. @param {Map<string, Graph>} graphs @param {string} id @param {{node: Node, input: number}} sampler */
export function upstream(graphs, id, sampler) {
  /** @type {{graph: string, node: Node}[]} */
  const way = [];
  const seen = new Set();
  const first = /** @type {Graph} */ (graphs.get(id)).into(sampler.node, sampler.input);
  const waiting = first ? [{ id, link: first }] : [];
  for (const { id: at, link } of waiting) {
    if (seen.has(`${at}:${link.id}`)) continue;
    seen.add(`${at}:${link.id}`);
    waiting.push(...before(graphs, at, link, way));
  }
  return way;
}

/** The links that a link's model comes from; notes the node between. @param {Map<string, Graph>} graphs @param {string} id
 * @param {Link} link @param {{graph: string, node: Node}[]} way @returns {{id: string, link: Link}[]} */
export function before(graphs, id, link, way) {
  const graph = /** @type {Graph} */ (graphs.get(id));
  if (Number(link.from) === INPUT_NODE) return outside(graphs, id, link.output);
  const node = graph.node(link.from);
  if (!node) return [];
  way.push({ graph: id, node });
  const inner = graphs.get(node.type);
  if (inner) return [...inner.links.values()].filter((each) => Number(each.to) === OUTPUT_NODE && each.input === link.output).map((each) => ({ id: node.type, link: each }));
  return (node.inputs ?? []).flatMap(({ type }, input) => {
    const next = carries(type) ? graph.into(node, input) : null;
    return next ? [{ id, link: next }] : [];
  });
}

/** What leads into an input of a subgraph, wherever the subgraph is used. @param {Map<string, Graph>} graphs @param {string} id @param {number} port */
function outside(graphs, id, port) {
  const name = graphs.get(id)?.data.inputs?.[port]?.name;
  return [...graphs].flatMap(([outer, graph]) =>
    [...graph.nodes.values()].filter(({ type }) => type === id).flatMap((node) => {
      const input = (node.inputs ?? []).findIndex((slot) => slot.name === name);
      const link = input < 0 ? null : graph.into(node, input);
      return link ? [{ id: outer, link }] : [];
    }),
  );
}

/** A switch or a reroute takes anything, so also a model. @param {unknown} type */
export function carries(type) {
  return String(type).split(",").some((each) => MODELS.includes(each) || each === "*" || each.startsWith("COMFY_MATCHTYPE"));
}

/** The model files that a loader names. @param {Node} node */
export function filesOf(node) {
  if ((node.inputs ?? []).some(({ type, link }) => MODELS.includes(type) && link != null)) return []; // a LoRA's file
  const values = Array.isArray(node.widgets_values) ? node.widgets_values : Object.values(node.widgets_values ?? {});
  return values.filter((value) => typeof value === "string" && FILE.test(value));
}

/** The output that the latent leaves a sampler by; a guider's is that of the node it guides. @param {Graph} graph @param {Node} node
 * @returns {{node: Node, output: number} | null} */
export function latentOf(graph, node) {
  const slots = node.outputs ?? [];
  const used = slots.findIndex(({ type }, output) => type === "LATENT" && graph.outOf(node.id, output).length > 0);
  if (used >= 0) return { node, output: used };
  const guider = slots.findIndex(({ type }) => type === "GUIDER");
  const [link] = guider < 0 ? [] : graph.outOf(node.id, guider);
  const guided = link && graph.node(link.to);
  return guided ? latentOf(graph, guided) : null;
}
