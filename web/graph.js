// @ts-check
/** @typedef {{id: string | number, subgraph?: GraphLike}} NodeLike */
/** @typedef {{id?: string, nodes?: NodeLike[], getNodeById: (id: any) => NodeLike | null | undefined}} GraphLike */

/** @param {GraphLike | null | undefined} graph @param {string} id ids are numbers in some versions of the host, strings in others */
function child(graph, id) {
  return graph?.getNodeById(id) ?? graph?.getNodeById(Number(id)) ?? null;
}

/** The node that an execution id such as "12", or "12:7" inside a subgraph, names; null if it is not in this graph.
 * @param {GraphLike | null | undefined} root @param {unknown} executionId */
export function nodeAt(root, executionId) {
  if (executionId == null) return null;
  const path = String(executionId).split(":");
  const last = path.pop() ?? "";
  const graph = path.reduce((outer, id) => child(outer, id)?.subgraph, root ?? undefined);
  return child(graph, last);
}

/** Every node with its execution id, those inside subgraphs too. @param {GraphLike | null | undefined} graph @param {string} prefix
 * @returns {Generator<[string, NodeLike]>} */
export function* nodesIn(graph, prefix = "") {
  for (const node of graph?.nodes ?? []) {
    yield [`${prefix}${node.id}`, node];
    if (node.subgraph) yield* nodesIn(node.subgraph, `${prefix}${node.id}:`);
  }
}
