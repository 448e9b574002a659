// @ts-check
/** @typedef {import("./graph.js").GraphLike} GraphLike */
/** @typedef {{id: () => string, root: () => GraphLike, watched: (node: any) => boolean, history: () => Promise<any>}} Workflow */

import { nodesIn } from "./graph.js";
import { SCHEMA } from "./report/payload.js";

const ENDED = new Set(["finished", "interrupted", "failed"]);

/**
 * The last run of each node of the open workflow: in this tab, kept by the host, or in the server's own history.
 * @param {ReturnType<typeof import("./store.js").createStore>} store @param {ReturnType<typeof import("./kept.js").createKept>} kept
 * @param {Workflow} workflow
 */
export function createRuns(store, kept, { id, root, watched, history }) {
  const remember = (/** @type {any} */ told) => store.remember(id(), told);
  const of = (/** @type {string} */ node) => store.recall(id(), node);

  /** Keeps what ended, for a browser that was not there. */
  async function keep() {
    const told = [...nodesIn(root())].map(([node]) => of(node)).filter((each) => each?.text || ENDED.has(each?.state));
    await kept.keep(id(), told);
  }

  /** What this browser has not seen, newest first; nothing if another workflow was opened meanwhile. @returns {Promise<any[]>} */
  async function unseen() {
    const own = id();
    const missing = new Set([...nodesIn(root())].filter(([node, each]) => watched(each) && !of(node)).map(([node]) => node));
    if (!missing.size) return [];
    const found = [...(await kept.recall(own)), ...inHistory(await history(), own)];
    return own === id() ? found.filter(({ node }) => missing.has(String(node)) && !of(String(node))) : [];
  }

  return { remember, of, keep, unseen, save: store.save };
}

/** What reports put out in the runs of a workflow that the server remembers. @param {Record<string, any>} history @param {string} workflow */
export function inHistory(history, workflow) {
  const own = Object.values(history).reverse().filter((run) => run.prompt?.[3]?.extra_pnginfo?.workflow?.id === workflow);
  return own.flatMap(({ outputs }) => Object.entries(outputs ?? {}).flatMap(([node, output]) => toldBy(node, output)));
}

/** The payloads of an output, and what a report's node shows. @param {string} node @param {any} output @returns {any[]} */
export function toldBy(node, output) {
  const told = Array.isArray(output?.wanattn) ? output.wanattn : null;
  const payloads = (told ?? []).filter((/** @type {any} */ payload) => payload?.schema === SCHEMA);
  if (!told || !Array.isArray(output.text)) return payloads;
  return [...payloads, { node, text: output.text.join("\n"), payload: payloads[0] ?? null, picture: output.wanattn_picture?.[0] ?? null }];
}
