// @ts-check
/** @typedef {import("../wiring.js").Wish} Wish */
/** @typedef {{severity: "success" | "info" | "warn", text: string}} Told */
/** @typedef {{edit: (change: (workflow: any) => Told | null) => Promise<void>, wishes: () => Wish}} Host */

import { count } from "../report/format.js";
import { word } from "../report/words.js";
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
export function added({ wired, before, others, strange = [] }) {
  const left = [
    others.length ? ` ${word("Left alone, since no Wan model: {0}.", few(others))}` : "",
    strange.length ? ` ${word("Left alone, since its pack is not installed: {0}.", few(strange))}` : "",
  ].join("");
  if (wired) return { severity: "success", text: word("Wan Attention added to {0} models. Ctrl+Z takes it back.", count(wired)) + left };
  if (before) return { severity: "info", text: word("Every Wan model here already has Wan Attention.") + left };
  return { severity: "warn", text: word("No sampler of a Wan model here. Right-click a model's node to add it to that one.") + left };
}

/** @param {string[]} names */
function few(names) {
  return [...new Set(names)].slice(0, MOST_NAMES).join(", ");
}

/** @param {number} nodes @returns {Told} */
export function removed(nodes) {
  if (!nodes) return { severity: "info", text: word("No node of Wan Attention here.") };
  return { severity: "success", text: word("{0} nodes of Wan Attention removed. Ctrl+Z brings them back.", count(nodes)) };
}
