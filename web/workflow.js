// @ts-check
/**
 * A saved workflow, as the host keeps it for undo: plain data, subgraphs flat beside the root.
 * @typedef {{name: string, type: string, link?: number | null, links?: number[] | null}} Slot
 * @typedef {{id: number | string, type: string, title?: string, mode?: number, order?: number, properties?: any, pos: any, size?: any,
 *   inputs?: Slot[], outputs?: Slot[], widgets_values?: any}} Node
 * @typedef {{id: number, from: number | string, output: number, to: number | string, input: number, type: any, raw: any}} Link
 * @typedef {{id: string, type: string, linkIds?: number[]}} Port
 */

export const INPUT_NODE = -10;
export const OUTPUT_NODE = -20;

/** One graph of a workflow, the root or a subgraph's inside, whose links can be moved and made. */
export class Graph {
  /** @param {any} data changed in place @param {{node: number, link: number}} last numbers given so far in the whole workflow */
  constructor(data, last) {
    this.data = data;
    this.last = last;
    /** @type {Map<string, Node>} */
    this.nodes = new Map((data.nodes ?? []).map((/** @type {Node} */ node) => [String(node.id), node]));
    /** @type {Map<number, Link>} */
    this.links = new Map((data.links ?? []).map((/** @type {any} */ raw) => [linkOf(raw).id, linkOf(raw)]));
  }

  /** @param {number | string} id */
  node(id) {
    return this.nodes.get(String(id)) ?? null;
  }

  /** The link into an input, or null. @param {Node} node @param {number} input */
  into(node, input) {
    return this.links.get(node.inputs?.[input]?.link ?? -1) ?? null;
  }

  /** @param {number | string} node @param {number} output @returns {Link[]} */
  outOf(node, output) {
    return [...this.links.values()].filter((link) => String(link.from) === String(node) && link.output === output);
  }

  /** @param {Omit<Node, "id">} parts */
  add(parts) {
    const node = { id: this.#next("node"), flags: {}, order: this.nodes.size, mode: 0, properties: {}, ...parts };
    this.data.nodes.push(node);
    this.nodes.set(String(node.id), node);
    return /** @type {Node} */ (node);
  }

  /** @param {number | string} from @param {number} output @param {Node} to @param {number} input @param {string} type */
  link(from, output, to, input, type) {
    this.cut(this.into(to, input));
    const id = Number(this.#next("link"));
    const link = { id, from, output, to: to.id, input, type, raw: rawLink(this.data, id) };
    this.links.set(id, link);
    this.data.links.push(link.raw);
    this.#write(link);
    this.#leave(link, true);
    if (to.inputs) to.inputs[input].link = id;
    return link;
  }

  /** Lets a link end elsewhere; its way over reroutes stays. @param {Link} link @param {Node} to @param {number} input */
  lead(link, to, input) {
    const before = this.node(link.to)?.inputs?.[link.input];
    if (before) before.link = null;
    Object.assign(link, { to: to.id, input });
    if (to.inputs) to.inputs[input].link = link.id;
    this.#write(link);
  }

  /** Lets a link begin elsewhere. @param {Link} link @param {number | string} from @param {number} output */
  begin(link, from, output) {
    this.#leave(link, false);
    Object.assign(link, { from, output });
    this.#leave(link, true);
    this.#write(link);
  }

  /** @param {Link | null} link */
  cut(link) {
    if (!link) return;
    this.#leave(link, false);
    const slot = this.node(link.to)?.inputs?.[link.input];
    if (slot) slot.link = null;
    if (Number(link.to) === OUTPUT_NODE) drop(this.data.outputs?.[link.input]?.linkIds, link.id);
    for (const reroute of [...(this.data.reroutes ?? []), ...(this.data.extra?.reroutes ?? [])]) drop(reroute.linkIds, link.id);
    this.links.delete(link.id);
    drop(this.data.links, link.raw);
  }

  /** @param {Node} node */
  remove(node) {
    for (const link of [...this.links.values()]) if ([link.from, link.to].some((id) => String(id) === String(node.id))) this.cut(link);
    this.nodes.delete(String(node.id));
    drop(this.data.nodes, node);
  }

  /** Notes at the start of a link that it is there, or no longer. @param {Link} link @param {boolean} there */
  #leave(link, there) {
    const slot = this.node(link.from)?.outputs?.[link.output];
    const port = Number(link.from) === INPUT_NODE ? this.data.inputs?.[link.output] : null;
    const known = slot ? (slot.links ??= []) : port ? (port.linkIds ??= []) : [];
    if (!there) drop(known, link.id);
    else if (!known.includes(link.id)) known.push(link.id);
  }

  /** @param {Link} link */
  #write({ raw, id, from, output, to, input, type }) {
    if (Array.isArray(raw)) raw.splice(0, 6, id, from, output, to, input, type);
    else Object.assign(raw, { id, origin_id: from, origin_slot: output, target_id: to, target_slot: input, type });
  }

  /** Numbers are the whole workflow's: the host renumbers a subgraph's inside that repeats one. @param {"node" | "link"} what */
  #next(what) {
    this.last[what] += 1;
    if (this.data.state) this.data.state[what === "node" ? "lastNodeId" : "lastLinkId"] = this.last[what];
    else this.data[`last_${what}_id`] = this.last[what];
    return this.last[what];
  }
}

/** Every graph of a workflow: the root under "", a subgraph's inside under its id. @param {any} workflow */
export function graphsOf(workflow) {
  const inside = workflow.definitions?.subgraphs ?? [];
  const last = { node: highest([workflow, ...inside], "nodes"), link: highest([workflow, ...inside], "links") };
  const inner = inside.map((/** @type {any} */ data) => [data.id, new Graph(data, last)]);
  return /** @type {Map<string, Graph>} */ (new Map([["", new Graph(workflow, last)], ...inner]));
}

/** The highest number in use or ever given. @param {any[]} graphs @param {"nodes" | "links"} what */
function highest(graphs, what) {
  const counted = graphs.flatMap((data) => [data.last_node_id, data.last_link_id, data.state?.lastNodeId, data.state?.lastLinkId]);
  const used = graphs.flatMap((data) => (data[what] ?? []).map((/** @type {any} */ each) => each.id ?? each[0]));
  return Math.max(0, ...[...counted, ...used].map(Number).filter(Number.isFinite));
}

/** @param {any} raw @returns {Link} */
function linkOf(raw) {
  const [id, from, output, to, input, type] = Array.isArray(raw)
    ? raw
    : [raw.id, raw.origin_id, raw.origin_slot, raw.target_id, raw.target_slot, raw.type];
  return { id, from, output: Number(output), to, input: Number(input), type, raw };
}

/** A link in the notation of its graph. @param {any} data @param {number} id */
function rawLink(data, id) {
  return data.state || (data.links.length && !Array.isArray(data.links[0])) ? { id } : [];
}

/** @param {any[] | null | undefined} list @param {any} item */
function drop(list, item) {
  const at = list?.indexOf(item) ?? -1;
  if (at >= 0) list?.splice(at, 1);
}
