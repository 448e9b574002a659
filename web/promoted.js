// @ts-check
// ComfyUI 0.8.0's own page saves what a subgraph's node holds itself by name, in `proxyWidgets` under "-1", and gives it back by
// position: the first of it, a file's name, lands in the first text field of all. So the list is kept from the page while it loads.
/** @typedef {{graph: string, node: string, values: [string, any][]}} Promoted */

import { nodesIn } from "./graph.js";

const OWN = "-1";

/** Takes the values that the page would misplace out of a workflow; newer pages save none in this way. @param {any} workflow
 * @returns {Promoted[]} */
export function takePromoted(workflow) {
  const graphs = [["", workflow], ...(workflow.definitions?.subgraphs ?? []).map((/** @type {any} */ inside) => [inside.id, inside])];
  return graphs.flatMap(([graph, { nodes }]) => (nodes ?? []).flatMap((/** @type {any} */ node) => takeFrom(graph, node)));
}

/** @param {string} graph @param {any} node @returns {Promoted[]} */
function takeFrom(graph, node) {
  const proxies = node.properties?.proxyWidgets;
  const saved = node.widgets_values;
  if (!Array.isArray(proxies) || !Array.isArray(saved)) return [];
  const names = proxies.filter(([owner]) => String(owner) === OWN).map(([, name]) => String(name));
  if (!names.length || names.length !== saved.length) return [];
  node.widgets_values = [];
  return [{ graph, node: String(node.id), values: names.map((name, position) => [name, saved[position]]) }];
}

/** Gives them to the fields they were taken from. @param {any} root @param {Promoted[]} taken */
export function putPromoted(root, taken) {
  const byPlace = new Map(taken.map(({ graph, node, values }) => [`${graph} ${node}`, values]));
  for (const [, node] of nodesIn(root)) {
    const { graph, id, widgets = [] } = /** @type {any} */ (node);
    for (const [name, value] of byPlace.get(`${graph === root ? "" : graph?.id} ${id}`) ?? []) {
      const widget = widgets.find((/** @type {any} */ each) => each.name === name);
      if (widget) widget.value = value;
    }
  }
}
