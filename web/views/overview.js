// @ts-check
/** @typedef {{id: string, title: string, kind: "panel" | "line", payload: any, idle: any}} Entry */
/** @typedef {{element: HTMLElement, update: (payload: any) => void, describe: (told: any) => void, dispose: () => void}} View */

import { nodeAt, nodesIn } from "../graph.js";
import { element, setText } from "../report/dom.js";
import { plain } from "../report/format.js";
import { createPanel } from "../report/panel.js";
import { installStyle, watchTone } from "../report/style.js";
import { word } from "../report/words.js";
import { createLine } from "./line.js";

const EMPTY = "No Attention Backend or Diagnostics in this workflow yet.";

/**
 * Every panel of the workflow in one place, those inside subgraphs too.
 * @param {{entries: () => Entry[], show: (id: string) => void, add: () => void, saveHtml: (payload: any) => Promise<void>}} host
 */
export function createOverview({ entries, show, add, saveHtml }) {
  const root = element("div", "wanattn overview");
  const nothing = element("div");
  const button = /** @type {HTMLButtonElement} */ (element("button", "", word("Add Wan Attention to every Wan model here")));
  const cards = element("div", "cards");
  /** @type {Map<string, {element: HTMLElement, view: View, title: HTMLElement}>} */
  const known = new Map();

  installStyle();
  button.type = "button";
  button.addEventListener("click", add);
  nothing.append(element("p", "plan", word(EMPTY)), button);
  root.append(nothing, cards);
  const stopWatching = watchTone(root);

  /** Brings the cards in line with the workflow. */
  function refresh() {
    const now = entries();
    for (const [key, card] of known) {
      if (now.some((entry) => keyOf(entry) === key)) continue;
      card.view.dispose();
      card.element.remove();
      known.delete(key);
    }
    now.forEach((entry, position) => {
      const card = known.get(keyOf(entry)) ?? create(entry);
      setText(card.title, titleOf(entry));
      card.element.setAttribute("aria-label", titleOf(entry));
      if (entry.idle) card.view.describe(entry.idle);
      if (entry.payload) card.view.update(entry.payload);
      if (cards.children[position] !== card.element) cards.insertBefore(card.element, cards.children[position] ?? null);
    });
    const lost = now.length > 0 && nothing.contains(document.activeElement);
    nothing.hidden = now.length > 0;
    if (lost) /** @type {HTMLElement} */ (cards.firstElementChild).focus(); // what was pressed is gone
  }

  /** @param {Entry} entry */
  function create(entry) {
    const card = element("section", `card ${entry.kind}`);
    card.tabIndex = -1;
    const top = element("div", "label");
    const title = element("b");
    const link = /** @type {HTMLButtonElement} */ (element("button", "why end", word("show the node")));
    const view = /** @type {View} */ (entry.kind === "panel" ? createPanel({ saveHtml }) : createLine());
    link.type = "button";
    link.addEventListener("click", () => show(entry.id));
    top.append(title, link);
    card.append(top, view.element);
    known.set(keyOf(entry), { element: card, view, title });
    return { element: card, view, title };
  }

  /** @param {string} id @param {any} payload */
  function update(id, payload) {
    for (const kind of ["panel", "line"]) known.get(`${kind} ${id}`)?.view.update(payload);
  }

  function dispose() {
    stopWatching();
    for (const { view } of known.values()) view.dispose();
    known.clear();
    root.remove();
  }

  refresh();
  return { element: root, refresh, update, dispose };
}

/** Two nodes of the same name are told apart by their experts. @param {Entry} entry */
function titleOf({ title, payload, idle }) {
  const expert = plain(payload?.model?.expert ?? idle?.expert ?? "");
  return expert && !title.toLowerCase().replace("-", " ").includes(expert.toLowerCase()) ? `${plain(title)} (${expert})` : plain(title);
}

/** @param {Entry} entry */
function keyOf({ kind, id }) {
  return `${kind} ${id}`;
}

/** The nodes of some types, kind after kind. @param {any} root @param {["panel" | "line", string][]} kinds
 * @param {(id: string, node: any) => {payload: any, idle: any}} told @returns {Entry[]} */
export function entriesOf(root, kinds, told) {
  const nodes = /** @type {[string, any][]} */ ([...nodesIn(root)]);
  return kinds.flatMap(([kind, type]) =>
    nodes.filter(([, node]) => node.comfyClass === type).map(([id, node]) => ({ id, kind, title: [...path(root, id), node.title].join(" › "), ...told(id, node) })),
  );
}

/** The titles of the subgraphs around a node. @param {any} root @param {string} id */
function path(root, id) {
  const parts = id.split(":").slice(0, -1);
  return parts.map((_, position) => /** @type {any} */ (nodeAt(root, parts.slice(0, position + 1).join(":")))?.title ?? "");
}
