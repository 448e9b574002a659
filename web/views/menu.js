// @ts-check
/** @typedef {import("./idle.js").Possible} Possible */

import { word } from "../report/words.js";

/** @type {Record<string, string[]>} node to its menus of backends */
const MENUS = {
  WanAttnBackend: ["backend"],
  WanAttnWrapperBackend: ["backend"],
  WanAttnRayBackend: ["backend"],
  WanAttnRule: ["backend"],
  WanAttnSchedule: ["approximate", "exact"],
};

/** The menu in groups: what can run here before what cannot. @param {string[]} values @param {Possible} possible */
export function menuOrder(values, { lacking }) {
  return [...values].sort((left, right) => Number(left in lacking) - Number(right in lacking));
}

/** @param {string} value @param {Possible} possible */
export function menuLabel(value, { lacking }) {
  return value in lacking ? word("{0} – not here", value) : value;
}

/** Puts the menus of a node in groups and marks what cannot run here. @param {any} node @param {Possible} possible */
export function markMenus(node, possible) {
  const names = MENUS[node.comfyClass] ?? [];
  for (const widget of node.widgets?.filter((/** @type {any} */ each) => names.includes(each.name)) ?? []) {
    if (!Array.isArray(widget.options?.values)) continue;
    widget.options.values = menuOrder(widget.options.values, possible);
    widget.options.getOptionLabel = (/** @type {string | null} */ value) => menuLabel(String(value ?? ""), possible);
  }
}
