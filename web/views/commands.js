// @ts-check
/** @typedef {import("../wiring.js").Wish} Wish */
/** @typedef {{severity: "success" | "info" | "warn", text: string}} Told */
/** @typedef {{edit: (change: (workflow: any) => Told | null) => Promise<void>, wishes: () => Wish}} Host */

import { plural } from "../report/format.js";
import { addAttention, removeAttention } from "../wiring.js";

const MOST_NAMES = 3;
export const ADD = "wanattn.add";
export const ADD_ALL = "wanattn.addAll";
export const REMOVE = "wanattn.remove";
/** @type {Record<string, string>} */
export const LABELS = {
  [ADD]: "Add Wan Attention to every Wan model here",
  [ADD_ALL]: "Add Wan Attention, panel and report to every Wan model here",
  [REMOVE]: "Remove Wan Attention from this workflow",
};

/** The commands of the menu and of the keys. @param {Host} host */
export function commandsOf({ edit, wishes }) {
  const add = (/** @type {Wish} */ wish) => edit((workflow) => added(addAttention(workflow, { ...wishes(), ...wish })));
  return {
    [ADD]: () => add({}),
    [ADD_ALL]: () => add({ diagnostics: true, report: true }),
    [REMOVE]: () => edit((workflow) => removed(removeAttention(workflow))),
    /** @param {Wish["from"]} from */
    addTo: (from) => add({ from }),
  };
}

/** What adding came to, in a sentence. @param {ReturnType<typeof addAttention>} result @returns {Told} */
export function added({ wired, before, others }) {
  const names = [...new Set(others)].slice(0, MOST_NAMES).join(", ");
  const left = names ? ` Left alone, since no Wan model: ${names}.` : "";
  if (wired) return { severity: "success", text: `Wan Attention added to ${plural(wired, "model")}.${left} Ctrl+Z takes it back.` };
  if (before) return { severity: "info", text: `Every Wan model here already has Wan Attention.${left}` };
  return { severity: "warn", text: `No sampler of a Wan model here.${left} Right-click a model's node to add it to that one.` };
}

/** @param {number} nodes @returns {Told} */
export function removed(nodes) {
  if (!nodes) return { severity: "info", text: "No node of Wan Attention here." };
  return { severity: "success", text: `${plural(nodes, "node")} of Wan Attention removed. Ctrl+Z brings ${nodes === 1 ? "it" : "them"} back.` };
}
