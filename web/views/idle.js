// @ts-check
/** @typedef {import("../workflow.js").Graph} Graph */
/** @typedef {import("../workflow.js").Node} Node */
/** @typedef {import("../report/payload.js").Forecast} Forecast */
/** @typedef {{here: Record<string, string>, lacking: Record<string, string>}} Possible what the server says of each backend */
/** @typedef {{plan: string, lines: string[], needs?: string[], forecast: Forecast[], expert?: string, place?: string}} Idle `needs` is
 *  what each backend that is not here wants, `expert` which of two a file says it is, `place` where what ran is told instead of on this node */

import { backendName } from "../report/format.js";
import { word } from "../report/words.js";
import { carries, filesOf, upstream } from "../trace.js";
import { INPUT_NODE, OUTPUT_NODE } from "../workflow.js";

const BACKENDS = ["WanAttnBackend", "WanAttnWrapperBackend"];
const RAY_BACKEND = "WanAttnRayBackend";
const RAY_REPORT = "WanAttnRayReport";
const TEXT_KEYS = 512;
const IMAGE_KEYS = 257;
const HALF = 2; // bytes
/** @type {[RegExp, {heads: number, pixels: number}][]} */
const VARIANTS = [[/(^|[^0-9.])5b/i, { heads: 24, pixels: 32 }], [/1\.?3b/i, { heads: 12, pixels: 16 }], [/wan|14b/i, { heads: 40, pixels: 16 }]];
const WITH_IMAGE = /wan.?2[._]?1.*(i2v|flf2v|fun|scail)|animate/i;
const SIZES = ["width", "height", "length"];
const FASTEST = "Will time every kernel that can run here on the model's own tensors, once a size, and take the fastest.";
const OR_STOP = "Will run every attention call on {0}; where it cannot, the run stops and says why.";
const OR_NEXT = "Will run every attention call on {0}; where it cannot, the next best runs and the reason is shown here.";
const OR_NEXT_ON_RANKS = "Will run every attention call on {0}, on each GPU; where it cannot, the next best runs and the report says why.";
const EXPERT = /(high|low)[ _-]?noise/i;
const ELSEWHERE = / does not exist on (\w+)$/;

/** What a node will do, before anything ran. @param {Map<string, Graph>} graphs @param {string} id @param {Node} node
 * @param {Possible} possible @returns {Idle} */
export function idleOf(graphs, id, node, possible) {
  return { ...toldOf(graphs, id, node, possible), expert: expertOf(graphs, id, node) };
}

/** "high noise" where the file of a node's model says so. @param {Map<string, Graph>} graphs @param {string} id @param {Node} node */
function expertOf(graphs, id, node) {
  const input = (node.inputs ?? []).findIndex(({ type }) => carries(type));
  const files = input < 0 ? [] : upstream(graphs, id, { node, input }).flatMap((step) => filesOf(step.node));
  const [, level] = files.join(" ").match(EXPERT) ?? [];
  return level ? `${level.toLowerCase()} noise` : "";
}

/** @param {Map<string, Graph>} graphs @param {string} id @param {Node} node @param {Possible} possible @returns {Idle} */
function toldOf(graphs, id, node, possible) {
  if (BACKENDS.includes(node.type)) return { plan: backendPlan(graphs.get(id), node, possible), lines: menuLines(possible), needs: needsOf(possible), forecast: [] };
  if (node.type === RAY_BACKEND) return { plan: ranksPlan(node), lines: [], forecast: [], place: word("What ran on each GPU: in Attention Report (Raylight)") };
  if (node.type === RAY_REPORT) return { plan: word("Will show what ran on each GPU, once the sampler is done."), lines: [], forecast: [] };
  const watching = word("Will record every attention call of this model: what was asked, what ran, how that is known and how long it took.");
  const sampled = samplerAfter(graphs, id, node);
  if (!sampled) return { plan: `${watching} ${word("Wire its output to a sampler.")}`, lines: [], forecast: [] };
  return { plan: watching, lines: [], forecast: forecastOf(graphs, sampled.graph, sampled.node, sampled.input, possible) };
}

/** @param {Graph | undefined} graph @param {Node} node @param {Possible} possible */
function backendPlan(graph, node, possible) {
  const [backend, refusal] = node.widgets_values ?? [];
  const ruled = (node.inputs ?? []).some(({ name, link }) => name === "rules" && link != null && graph?.links.has(link));
  const rules = ruled ? ` ${word("The rules that are wired in come first.")}` : "";
  if (backend === "host") return word("Will change nothing: ComfyUI's own attention runs and is watched.") + rules;
  if (backend === "auto") return word(FASTEST) + rules;
  const lacking = possible.lacking[backend];
  const doubt = lacking ? ` ${word("Not here: {0}.", lacking)}` : "";
  return word(refusal === "stop" ? OR_STOP : OR_NEXT, backendName(backend)) + doubt + rules;
}

/** Of a node whose actors may be on other machines. @param {Node} node */
function ranksPlan(node) {
  const [backend, refusal] = node.widgets_values ?? [];
  if (backend === "host") return word("Will change nothing: Raylight's own attention runs on each GPU and is watched.");
  if (backend === "auto") return word(FASTEST);
  return word(refusal === "stop" ? OR_STOP : OR_NEXT_ON_RANKS, backendName(backend));
}

/** Which names of the menu can run here, and which cannot. @param {Possible} possible */
export function menuLines({ here, lacking }) {
  const names = Object.keys(here).map(backendName);
  const elsewhere = Object.entries(lacking).filter(([, reason]) => ELSEWHERE.test(reason));
  const others = Object.keys(lacking).filter((name) => !ELSEWHERE.test(lacking[name])).map(backendName);
  const [, device] = elsewhere[0]?.[1].match(ELSEWHERE) ?? [];
  return [
    names.length ? word("here: {0}", names.join(", ")) : "",
    device ? word("not on {0}: {1}", device, elsewhere.map(([name]) => backendName(name)).join(", ")) : "",
    others.length ? word("not ready here: {0}", others.join(", ")) : "",
  ].filter(Boolean);
}

/** What those that are not ready need, one line each. @param {Possible} possible */
export function needsOf({ lacking }) {
  const others = Object.entries(lacking).filter(([, reason]) => !ELSEWHERE.test(reason));
  return others.map(([name, reason]) => `${backendName(name)}: ${reason}`);
}

/** The first node that a node's model is sampled by. @param {Map<string, Graph>} graphs @param {string} id @param {Node} node
 * @returns {{graph: string, node: Node, input: number} | null} */
function samplerAfter(graphs, id, node) {
  const graph = /** @type {Graph} */ (graphs.get(id));
  const waiting = modelOutputs(node).flatMap((output) => graph.outOf(node.id, output));
  for (const link of waiting) {
    const target = graph.node(link.to);
    if (!target) continue;
    if (graphs.has(target.type)) {
      const found = inside(graphs, target, link.input);
      if (found) return found;
    } else if (!modelOutputs(target).length && !target.type.startsWith("WanAttn")) return { graph: id, node: target, input: link.input };
    waiting.push(...modelOutputs(target).flatMap((output) => graph.outOf(target.id, output)));
  }
  return null;
}

/** @param {Map<string, Graph>} graphs @param {Node} instance @param {number} input */
function inside(graphs, instance, input) {
  const graph = /** @type {Graph} */ (graphs.get(instance.type));
  const name = instance.inputs?.[input]?.name;
  const port = (graph.data.inputs ?? []).findIndex((/** @type {any} */ each) => each.name === name);
  const [link] = port < 0 ? [] : graph.outOf(INPUT_NODE, port);
  const target = link && graph.node(link.to);
  if (!target) return null;
  return modelOutputs(target).length ? samplerAfter(graphs, instance.type, target) : { graph: instance.type, node: target, input: link.input };
}

/** @param {Node} node */
function modelOutputs(node) {
  return (node.outputs ?? []).flatMap(({ type }, output) => (carries(type) ? [output] : []));
}

/** The calls of the next run, by the file's name and the size of the latent that is wired in.
 * @param {Map<string, Graph>} graphs @param {string} id @param {Node} sampler @param {number} input @param {Possible} possible @returns {Forecast[]} */
export function forecastOf(graphs, id, sampler, input, possible) {
  const way = upstream(graphs, id, { node: sampler, input });
  const file = way.flatMap(({ node }) => filesOf(node)).join(" ");
  const variant = VARIANTS.find(([pattern]) => pattern.test(file))?.[1];
  const size = sizeBefore(graphs, id, sampler);
  if (!variant || !size) return [];
  const { heads, pixels } = variant;
  const tokens = (Math.floor((size.length - 1) / 4) + 1) * Math.ceil(size.height / pixels) * Math.ceil(size.width / pixels);
  const wish = way.find(({ node }) => BACKENDS.includes(node.type))?.node.widgets_values?.[0];
  const known = wish in possible.here ? { active: wish } : {};
  const keys = /** @type {[string, number][]} */ ([["self", tokens], ["text", TEXT_KEYS], ...(WITH_IMAGE.test(file) ? [["image", IMAGE_KEYS]] : [])]);
  return keys.map(([role, kv_len]) => ({ role, heads, q_len: tokens, kv_len, math_gib: (heads * tokens * kv_len * HALF) / 2 ** 30, ...known }));
}

/** Width, height and frames of the latent that comes into a sampler. @param {Map<string, Graph>} graphs @param {string} id @param {Node} sampler */
function sizeBefore(graphs, id, sampler) {
  /** @type {{id: string, node: Node}[]} */
  const waiting = [{ id, node: sampler }];
  const seen = new Set();
  for (const { id: at, node } of waiting) {
    if (seen.has(node)) continue;
    seen.add(node);
    const [width, height, length] = SIZES.map((name) => numberAt(graphs, at, node, name));
    if (width && height && length) return { width, height, length };
    waiting.push(...latentSources(graphs, at, node));
  }
  return null;
}

/** @param {Map<string, Graph>} graphs @param {string} id @param {Node} node @returns {{id: string, node: Node}[]} */
function latentSources(graphs, id, node) {
  const graph = /** @type {Graph} */ (graphs.get(id));
  return (node.inputs ?? []).flatMap(({ type }, input) => {
    const link = type === "LATENT" || type === "GUIDER" || type === "*" ? graph.into(node, input) : null;
    return link ? ends(graphs, id, link) : [];
  });
}

/** The node that a link comes from, through the edges of subgraphs. @param {Map<string, Graph>} graphs @param {string} id
 * @param {import("../workflow.js").Link} link @returns {{id: string, node: Node}[]} */
function ends(graphs, id, link) {
  const graph = /** @type {Graph} */ (graphs.get(id));
  if (Number(link.from) === INPUT_NODE) return instances(graphs, id, link.output).flatMap(({ id: outer, node, input }) => {
    const next = graphs.get(outer)?.into(node, input);
    return next ? ends(graphs, outer, next) : [];
  });
  const node = graph.node(link.from);
  const inner = node && graphs.get(node.type);
  if (!node || !inner) return node ? [{ id, node }] : [];
  return [...inner.links.values()].filter((each) => Number(each.to) === OUTPUT_NODE && each.input === link.output).flatMap((each) => ends(graphs, node.type, each));
}

/** Where a subgraph is used, and which input there is its port. @param {Map<string, Graph>} graphs @param {string} id @param {number} port */
function instances(graphs, id, port) {
  const name = graphs.get(id)?.data.inputs?.[port]?.name;
  return [...graphs].flatMap(([outer, graph]) =>
    [...graph.nodes.values()].filter(({ type }) => type === id).map((node) => ({
      id: outer, node, input: (node.inputs ?? []).findIndex((slot) => slot.name === name),
    })),
  );
}

/** A number that a node's widget holds; what is wired to it counts for more, where that is a number too.
 * @param {Map<string, Graph>} graphs @param {string} id @param {Node} node @param {string} name @returns {number | null} */
function numberAt(graphs, id, node, name) {
  const inputs = (node.inputs ?? []).filter((slot) => /** @type {any} */ (slot).widget);
  const position = inputs.findIndex((slot) => slot.name === name);
  if (position < 0) return null;
  const own = Number(node.widgets_values?.[position]);
  const graph = /** @type {Graph} */ (graphs.get(id));
  const link = graph.into(node, (node.inputs ?? []).indexOf(inputs[position]));
  const wired = link ? ends(graphs, id, link).map((source) => source.node.widgets_values?.[0]) : [];
  const given = wired.find((value) => typeof value === "number");
  return given ?? (Number.isFinite(own) ? own : null);
}
