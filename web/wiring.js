// @ts-check
/** @typedef {import("./workflow.js").Graph} Graph */
/** @typedef {import("./workflow.js").Node} Node */
/** @typedef {import("./workflow.js").Link} Link */
/** @typedef {import("./trace.js").Sampler} Sampler */
/**
 * `from` names a node: then only the models that come through it are meant, whatever their files are called. `known` tells
 * whether the page has a type of node.
 * @typedef {{diagnostics?: boolean, report?: boolean, folder?: string, evidence?: string, known?: (type: string) => boolean,
 *   from?: {graph: string, node: string | number}}} Wish
 */

import { ACTORS, MODEL, WRAPPED, filesOf, latentOf, samplersOf, upstream } from "./trace.js";
import { graphsOf } from "./workflow.js";

const REPORT = "WanAttnReport";
const RAY_REPORT = "WanAttnRayReport";
/** @type {Record<string, {backend: string, diagnostics: string, report: string}>} by what a link carries; Raylight's backend watches too */
const KINDS = {
  [MODEL]: { backend: "WanAttnBackend", diagnostics: "WanAttnDiagnostics", report: REPORT },
  [WRAPPED]: { backend: "WanAttnWrapperBackend", diagnostics: "WanAttnWrapperDiagnostics", report: REPORT },
  [ACTORS]: { backend: "WanAttnRayBackend", diagnostics: "", report: RAY_REPORT },
};
const RULES = ["WanAttnRule", "WanAttnSchedule"];
const WAN = /wan/i;
const GROUP = "Wan Attention";
const ROOM = { gap: 40, title: 80 };
const SKIPPED = [2, 4]; // muted, bypassed

/** @typedef {{title: string, size: [number, number], inputs: [string, string][], outputs: [string, string][], values: any[], through?: string}} Shape
 * `through` names the input that goes on to the first output, where it is not the first. */

/** @param {string} kind @param {string} name @returns {Shape} */
const backendFor = (kind, name) => ({
  title: "Attention Backend", size: [320, 330], inputs: [[name, kind], ["rules", "WANATTN_RULES"]], outputs: [[kind === MODEL ? MODEL : name, kind]],
  values: ["auto", "next best", "exact", 0.03, ...(kind === ACTORS ? [] : ["keep their kernels"])],
});
/** @param {string} kind @returns {Shape} */
const diagnosticsFor = (kind) => ({
  title: "Attention Diagnostics", size: [600, 600], inputs: [["model", kind]], outputs: [[kind === MODEL ? MODEL : "model", kind]], values: ["sample", "", 4],
});
/** @type {[string, string][]} */
const FINDINGS = [["report", "STRING"], ["picture", "IMAGE"]];
/** @type {Record<string, Shape>} */
const NODES = {
  WanAttnBackend: backendFor(MODEL, "model"),
  WanAttnDiagnostics: diagnosticsFor(MODEL),
  WanAttnWrapperBackend: backendFor(WRAPPED, "model"),
  WanAttnWrapperDiagnostics: diagnosticsFor(WRAPPED),
  WanAttnRayBackend: backendFor(ACTORS, "ray_actors"),
  [REPORT]: {
    title: "Attention Run Report", size: [480, 560], inputs: [["model", MODEL], ["after", "*"]],
    outputs: [["after", "*"], ...FINDINGS], values: ["wanattn/report"], through: "after",
  },
  [RAY_REPORT]: { title: "Attention Report", size: [600, 600], inputs: [["ray_actors", ACTORS]], outputs: [["ray_actors", ACTORS], ...FINDINGS], values: ["wanattn/report"] },
};

/**
 * Puts the backend of its kind on the last link before each sampler of a Wan model, subgraphs included; changes the workflow.
 * @param {any} workflow @param {Wish} wish
 * @returns {{wired: number, before: number, others: string[], strange: string[]}} models wired, models that were so already, files that
 *   are not Wan's, samplers of a pack that is not installed
 */
export function addAttention(workflow, wish = {}) {
  const graphs = graphsOf(workflow);
  const told = { wired: 0, before: 0, others: /** @type {string[]} */ ([]), strange: /** @type {string[]} */ ([]) };
  for (const [id, graph] of graphs) {
    const place = placeUnder(graph);
    for (const { samplers, way, names } of modelsOf(graphs, id)) {
      if (wish.from && !way.some((step) => step.graph === wish.from?.graph && String(step.node.id) === String(wish.from.node))) continue;
      if (wish.known && !wish.known(KINDS[samplers[0].kind].backend)) told.strange.push(samplers[0].node.type);
      else if (!wish.from && !isWan(samplers[0].kind, names)) told.others.push(...names);
      else if (wire(graph, samplers, way.map(({ node }) => node), names, wish, place)) told.wired += 1;
      else told.before += 1;
    }
    place.frame();
  }
  return told;
}

/** WanVideoWrapper has no other models. @param {string} kind @param {string[]} names */
function isWan(kind, names) {
  return kind === WRAPPED || !names.length || names.some((name) => WAN.test(name));
}

/** Takes every node that the command may have put in a model's way out of it; returns how many. @param {any} workflow */
export function removeAttention(workflow) {
  let removed = 0;
  for (const graph of graphsOf(workflow).values()) {
    for (const node of [...graph.nodes.values()].filter(({ type }) => type in NODES || RULES.includes(type))) {
      if (node.type in NODES) bridge(graph, node);
      graph.remove(node);
      removed += 1;
    }
    graph.data.groups = (graph.data.groups ?? []).filter((/** @type {any} */ group) => group.title !== GROUP);
  }
  return removed;
}

/** The models that are sampled in one graph, the expert of high noise before that of low. @param {Map<string, Graph>} graphs @param {string} id */
function modelsOf(graphs, id) {
  const models = samplersOf(graphs, id).map((samplers) => {
    const way = upstream(graphs, id, samplers[0]);
    return { samplers, way, names: way.flatMap(({ node }) => filesOf(node)) };
  });
  return models.sort((left, right) => expert(left.names).localeCompare(expert(right.names)));
}

/** @param {Graph} graph @param {Sampler[]} samplers @param {Node[]} way @param {string[]} names @param {Wish} wish
 * @param {ReturnType<typeof placeUnder>} place @returns {boolean} whether anything was missing */
function wire(graph, samplers, way, names, wish, place) {
  const { kind, node: { mode: first } } = samplers[0];
  const { backend, diagnostics } = KINDS[kind];
  const title = expert(names);
  const mode = samplers.every(({ node }) => SKIPPED.includes(node.mode ?? 0)) ? first : 0;
  const wanted = [backend, wish.diagnostics ? diagnostics : ""].filter(Boolean);
  const missing = wanted.filter((type) => !way.some((node) => node.type === type));
  const create = (/** @type {string} */ type) => make(graph, type, title, mode, place, wish);
  for (const type of missing) insert(graph, samplers, create(type));
  const reported = wish.report && (kind === ACTORS ? reportOfRanks : report)(graph, samplers[samplers.length - 1], create);
  if (missing.length || reported) place.next();
  return missing.length > 0 || Boolean(reported);
}

/** "high noise" of a file that says so. @param {string[]} names */
function expert(names) {
  const [, level] = names.join(" ").match(/(high|low)[ _-]?noise/i) ?? [];
  return level ? `${level.toLowerCase()} noise` : "";
}

/** @param {Graph} graph @param {string} type @param {string} title @param {number | undefined} mode
 * @param {ReturnType<typeof placeUnder>} place @param {Wish} wish */
function make(graph, type, title, mode, place, wish) {
  const { title: name, size, inputs, outputs, values } = NODES[type];
  const own = type.endsWith("Report") ? [`${wish.folder ?? "wanattn"}/${title.replace(" ", "_") || "report"}`]
    : type.endsWith("Diagnostics") ? [wish.evidence ?? values[0], ...values.slice(1)] : [...values];
  return graph.add({
    type, pos: place.take(size), size: [...size], mode,
    ...(title ? { title: `${name} (${title})` } : {}),
    inputs: inputs.map(([slot, kind]) => ({ name: slot, type: kind, link: null })),
    outputs: outputs.map(([slot, kind]) => ({ name: slot, type: kind, links: [] })),
    widgets_values: own,
    properties: { "Node name for S&R": type, cnr_id: "wanattn" },
  });
}

/** Puts a node on the link before the samplers of one model. @param {Graph} graph @param {Sampler[]} samplers @param {Node} node */
function insert(graph, samplers, node) {
  const [first, ...others] = samplers;
  const link = /** @type {Link} */ (graph.into(first.node, first.input));
  const beside = others.filter((other) => sameStart(link, graph.into(other.node, other.input))); // the rest come after these
  graph.lead(link, node, 0);
  graph.link(node.id, 0, first.node, first.input, first.kind);
  for (const { node: sampler, input, kind } of beside) graph.link(node.id, 0, sampler, input, kind);
}

/** @param {Link} left @param {Link | null} right */
function sameStart(left, right) {
  return left.from === right?.from && left.output === right.output;
}

/** Puts a report after the last sampler of a model. @param {Graph} graph @param {Sampler} sampler @param {(type: string) => Node} create
 * @returns {boolean} whether it was missing and has something to come after */
function report(graph, { node: sampled, input, kind }, create) {
  const source = latentOf(graph, sampled);
  const leaving = source ? graph.outOf(source.node.id, source.output) : [];
  if (!source || !leaving.length || leaving.some(({ to }) => graph.node(to)?.type === REPORT)) return false;
  const model = /** @type {Link} */ (graph.into(sampled, input));
  const node = create(REPORT);
  if (kind !== MODEL && node.inputs) node.inputs[0].type = `${MODEL},${kind}`; // as the page has it where the wrapper is installed
  for (const link of leaving) graph.begin(link, node.id, 0);
  graph.link(model.from, model.output, node, 0, kind);
  graph.link(source.node.id, source.output, node, 1, "LATENT");
  return true;
}

/** Puts a report where Raylight's actors leave the last sampler that has them. @param {Graph} graph @param {Sampler} sampler
 * @param {(type: string) => Node} create @returns {boolean} whether it was missing and has actors to come from */
function reportOfRanks(graph, { node: sampled }, create) {
  const output = (sampled.outputs ?? []).findIndex(({ type }) => type === ACTORS);
  const leaving = output < 0 ? [] : graph.outOf(sampled.id, output);
  const targets = leaving.map(({ to }) => graph.node(to));
  if (output < 0 || targets.some((target) => target?.type === RAY_REPORT || target?.outputs?.some(({ type }) => type === "LATENT"))) return false;
  const node = create(RAY_REPORT);
  for (const link of leaving) graph.begin(link, node.id, 0);
  graph.link(sampled.id, output, node, 0, ACTORS);
  return true;
}

/** Joins what a node of ours was put between. @param {Graph} graph @param {Node} node */
function bridge(graph, node) {
  const { through, inputs } = NODES[node.type];
  const input = (node.inputs ?? []).findIndex(({ name }) => name === (through ?? inputs[0][0]));
  const link = input < 0 ? null : graph.into(node, input);
  if (!link) return;
  const leaving = graph.outOf(node.id, 0);
  const { from, output } = link;
  graph.cut(link);
  for (const each of leaving) graph.begin(each, from, output);
}

/** Where new nodes go: below everything, a row a model, in a group that says whose they are. @param {Graph} graph */
function placeUnder(graph) {
  const boxes = [...graph.nodes.values()].map(({ pos, size }) => ({ x: Number(pos[0]), y: Number(pos[1]), height: Number(size?.[1] ?? 100) }));
  const groups = (graph.data.groups ?? []).map((/** @type {any} */ { bounding: [x, y, , height] }) => ({ x, y, height }));
  const all = [...boxes, ...groups];
  const left = Math.min(...all.map(({ x }) => x), Infinity);
  const bottom = Math.max(...all.map(({ y, height }) => y + height), -Infinity);
  const start = [Number.isFinite(left) ? left : 0, (Number.isFinite(bottom) ? bottom : 0) + 2 * ROOM.title];
  let [x, y] = start;
  let [right, tallest] = [x, 0];
  return {
    /** @param {[number, number]} size */
    take([width, height]) {
      const at = [x, y];
      x += width + ROOM.gap;
      [right, tallest] = [Math.max(right, x), Math.max(tallest, height)];
      return at;
    },
    next() {
      [x, y, tallest] = [start[0], y + tallest + ROOM.title, 0];
    },
    frame() {
      if (right === start[0]) return;
      const bounding = [start[0] - ROOM.gap, start[1] - ROOM.title, right - start[0] + ROOM.gap, y - start[1] + ROOM.title];
      (graph.data.groups ??= []).push({ id: (graph.data.groups?.length ?? 0) + 1, title: GROUP, bounding, color: "#3f789e", font_size: 24, flags: {} });
    },
  };
}
