// @ts-check
/** @typedef {import("./payload.js").Run} Run */
/** @typedef {import("./cells.js").Fact} Fact */

import { addCursor } from "./cursor.js";
import { element, setText, shape } from "./dom.js";
import { figure, stepsSentence } from "./format.js";
import { word } from "./words.js";

const HEIGHT = 36;
const UNFINISHED = new Map([["running", "under way"], ["failed", "not finished"], ["interrupted", "not finished"]]);
const BAR = 10;
const WIDEST_BAR = 28;

/** Bars of the seconds of each step. @param {(facts: Fact[] | null) => void} tell */
export function createSteps(tell) {
  const root = element("section", "steps");
  const label = element("div", "label");
  const sentence = element("span", "dim");
  const picture = /** @type {SVGElement} */ (shape("svg", { class: "bars", tabindex: 0, preserveAspectRatio: "none", role: "application", "aria-roledescription": "bar chart" }));
  const bars = shape("path", { class: "bar" });
  const cursor = shape("path", { class: "bar now", visibility: "hidden" });
  /** @type {number[]} */
  let seconds = [];

  label.append(element("b", "", word("seconds a step")), sentence);
  picture.append(bars, cursor);
  picture.style.height = `${HEIGHT}px`;
  root.append(label, picture);

  addCursor(picture, {
    size: () => ({ steps: 1, blocks: seconds.length }),
    start: () => ({ step: 0, block: 0 }),
    show(place) {
      cursor.setAttribute("visibility", place ? "visible" : "hidden");
      if (!place || !seconds.length) return tell(null);
      cursor.setAttribute("d", bar(seconds[place.block], place.block, Math.max(...seconds)));
      tell([{ text: `step ${place.block}`, kind: "place" }, { text: `${figure(seconds[place.block])} s`, kind: "active" }]);
    },
  });

  /** @param {Run | null} run @param {string} state of the job */
  function update(run, state) {
    seconds = run?.step_seconds ?? [];
    root.hidden = seconds.length === 0;
    if (root.hidden) return;
    const longest = Math.max(...seconds);
    const told = stepsSentence(seconds, UNFINISHED.get(state));
    setText(sentence, told);
    picture.setAttribute("aria-label", `seconds a step, ${seconds.length} steps: ${told}`);
    const places = Math.max(seconds.length, run?.steps ?? 0);
    picture.setAttribute("viewBox", `0 0 ${seconds.length * BAR} ${HEIGHT}`);
    picture.style.width = `${(100 * seconds.length) / places}%`;
    picture.style.maxWidth = `${seconds.length * WIDEST_BAR}px`;
    bars.setAttribute("d", seconds.map((value, step) => bar(value, step, longest)).join(""));
  }

  return { element: root, update };
}

/** @param {number} value @param {number} step @param {number} longest */
function bar(value, step, longest) {
  const height = Math.max(1, (HEIGHT * value) / (longest || 1));
  return `M${step * BAR} ${HEIGHT}v${-height.toFixed(2)}h${BAR - 1}V${HEIGHT}z`;
}
