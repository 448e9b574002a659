// @ts-check
/** @typedef {import("./workflow.js").Graph} Graph */
/** @typedef {import("./workflow.js").Node} Node */
/** @typedef {import("./workflow.js").Link} Link */
/** @typedef {import("./trace.js").Sampler} Sampler */
/**
 * `from` names a node: then only the models that come through it are meant, whatever their files are called.
 * @typedef {{diagnostics?: boolean, report?: boolean, folder?: string, evidence?: string,
 *   from?: {graph: string, node: string | number}}} Wish
 */

import { MODEL, filesOf, latentOf, samplersOf, upstream } from "./trace.js";
import { graphsOf } from "./workflow.js";

const BACKEND = "WanAttnBackend";
const DIAGNOSTICS = "WanAttnDiagnostics";
const REPORT = "WanAttnReport";
const RULES = ["WanAttnRule", "WanAttnSchedule"];
const WAN = /wan/i;
const GROUP = "Wan Attention";
const ROOM = { gap: 40, title: 80 };
const SKIPPED = [2, 4]; // muted, bypassed

/** @type {Record<string, {size: [number, number], inputs: [string, string][], outputs: [string, string][], values: any[]}>} */
const NODES = {
  [BACKEND]: {
    size: [320, 330], inputs: [["model", MODEL], ["rules", "WANATTN_RULES"]], outputs: [[MODEL, MODEL]],
    values: ["auto", "next best", "exact", 0.03, "keep their kernels"],
  },
  [DIAGNOSTICS]: { size: [600, 600], inputs: [["model", MODEL]], outputs: [[MODEL, MODEL]], values: ["sample", "", 4] },
  [REPORT]: {
    size: [480, 560], inputs: [["model", MODEL], ["after", "*"]],
    outputs: [["after", "*"], ["report", "STRING"], ["picture", "IMAGE"]], values: ["wanattn/report"],
  },
};

/**
 * Puts Attention Backend on the last MODEL link before each sampler of a Wan model, subgraphs included; changes the workflow.
 * @param {any} workflow @param {Wish} wish
 * @returns {{wired: number, before: number, others: string[]}} models wired, models that were so already, files that are not Wan's
 */
export function addAttention(workflow, wish = {}) {
  const graphs = graphsOf(workflow);
  const told = { wired: 0, before: 0, others: /** @type {string[]} */ ([]) };
  for (const [id, graph] of graphs) {
    const place = placeUnder(graph);
    for (const { samplers, way, names } of modelsOf(graphs, id)) {
      if (wish.from && !way.some((step) => step.graph === wish.from?.graph && String(step.node.id) === String(wish.from.node))) continue;
      if (!wish.from && names.length && !names.some((name) => WAN.test(name))) told.others.push(...names);
      else if (wire(graph, samplers, way.map(({ node }) => node), names, wish, place)) told.wired += 1;
      else told.before += 1;
    }
    place.frame();
  }
  return told;
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
  const has = (/** @type {string} */ type) => way.some((node) => node.type === type);
  const title = expert(names);
  const mode = samplers.every(({ node }) => SKIPPED.includes(node.mode ?? 0)) ? samplers[0].node.mode : 0;
  const missing = [has(BACKEND) ? "" : BACKEND, wish.diagnostics && !has(DIAGNOSTICS) ? DIAGNOSTICS : ""].filter(Boolean);
  for (const type of missing) insert(graph, samplers, make(graph, type, title, mode, place, wish));
  const reported = wish.report && report(graph, samplers, (type) => make(graph, type, title, mode, place, wish));
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
  const { size, inputs, outputs, values } = NODES[type];
  /** @type {Record<string, any[]>} */
  const own = { [DIAGNOSTICS]: [wish.evidence ?? values[0], ...values.slice(1)], [REPORT]: [`${wish.folder ?? "wanattn"}/${title.replace(" ", "_") || "report"}`] };
  return graph.add({
    type, pos: place.take(size), size: [...size], mode,
    ...(title ? { title: `${TITLES[type]} (${title})` } : {}),
    inputs: inputs.map(([name, kind]) => ({ name, type: kind, link: null })),
    outputs: outputs.map(([name, kind]) => ({ name, type: kind, links: [] })),
    widgets_values: own[type] ?? [...values],
    properties: { "Node name for S&R": type, cnr_id: "wanattn" },
  });
}

/** @type {Record<string, string>} */
const TITLES = { [BACKEND]: "Attention Backend", [DIAGNOSTICS]: "Attention Diagnostics", [REPORT]: "Attention Run Report" };

/** Puts a node on the link before the samplers of one model. @param {Graph} graph @param {Sampler[]} samplers @param {Node} node */
function insert(graph, samplers, node) {
  const [first, ...others] = samplers;
  const link = /** @type {Link} */ (graph.into(first.node, first.input));
  graph.lead(link, node, 0);
  graph.link(node.id, 0, first.node, first.input, MODEL);
  for (const { node: sampler, input } of others) graph.link(node.id, 0, sampler, input, MODEL);
}

/** Puts a report after the last sampler of a model. @param {Graph} graph @param {Sampler[]} samplers @param {(type: string) => Node} create
 * @returns {boolean} whether it was missing and has something to come after */
function report(graph, samplers, create) {
  const sampler = samplers[samplers.length - 1];
  const source = latentOf(graph, sampler.node);
  const leaving = source ? graph.outOf(source.node.id, source.output) : [];
  if (!source || !leaving.length || leaving.some(({ to }) => graph.node(to)?.type === REPORT)) return false;
  const model = /** @type {Link} */ (graph.into(sampler.node, sampler.input));
  const node = create(REPORT);
  for (const link of leaving) graph.begin(link, node.id, 0);
  graph.link(model.from, model.output, node, 0, MODEL);
  graph.link(source.node.id, source.output, node, 1, "LATENT");
  return true;
}

/** Joins what a node of ours was put between. @param {Graph} graph @param {Node} node */
function bridge(graph, node) {
  const input = (node.inputs ?? []).findIndex(({ name }) => name === (node.type === REPORT ? "after" : "model"));
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
