// @ts-check
/** @typedef {import("./payload.js").Run} Run */
/** @typedef {import("./cells.js").Fact} Fact */

import { stepsOf } from "./cells.js";
import { addCursor } from "./cursor.js";
import { element, setText, shape } from "./dom.js";
import { figure, stepsSentence } from "./format.js";
import { begun } from "./payload.js";
import { word } from "./words.js";

const MOST_BARS = 1000;
const HEIGHT = 36;
const UNFINISHED = new Map([["running", "step {0} under way"], ["failed", "step {0} not finished"], ["interrupted", "step {0} not finished"]]);
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
  let stride = 1;
  let longest = 0;

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
      cursor.setAttribute("d", bar(seconds[place.block], place.block, longest));
      tell([{ text: stepsOf({ stride }, place.block), kind: "place" }, { text: `${figure(seconds[place.block])} s`, kind: "active" }]);
    },
  });

  /** @param {Run | null} run @param {string} state of the job */
  function update(run, state) {
    ({ seconds, stride } = barsOf(run?.step_seconds ?? [], run?.stride ?? 1));
    root.hidden = seconds.length === 0;
    if (root.hidden) return;
    longest = seconds.reduce((most, value) => Math.max(most, value), 0);
    const told = stepsSentence(seconds, UNFINISHED.get(state), stride);
    setText(sentence, told);
    picture.setAttribute("aria-label", word("seconds a step, {0} steps: {1}", run ? begun(run) : 0, told));
    const places = Math.max(seconds.length, (run?.steps ?? 0) / stride);
    picture.setAttribute("viewBox", `0 0 ${seconds.length * BAR} ${HEIGHT}`);
    picture.style.width = `${(100 * seconds.length) / places}%`;
    picture.style.maxWidth = `${seconds.length * WIDEST_BAR}px`;
    bars.setAttribute("d", seconds.map((value, step) => bar(value, step, longest)).join(""));
  }

  return { element: root, update };
}

/** As many bars as can be told apart, each the mean of some steps. @param {number[]} seconds @param {number} stride of each already
 * @returns {{seconds: number[], stride: number}} */
export function barsOf(seconds, stride) {
  const each = Math.ceil(seconds.length / MOST_BARS);
  if (each <= 1) return { seconds, stride };
  const means = Array.from({ length: Math.ceil(seconds.length / each) }, (_, position) => {
    const part = seconds.slice(position * each, (position + 1) * each);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  return { seconds: means, stride: stride * each };
}

/** @param {number} value @param {number} step @param {number} longest */
function bar(value, step, longest) {
  const height = Math.max(1, (HEIGHT * value) / (longest || 1));
  return `M${step * BAR} ${HEIGHT}v${-height.toFixed(2)}h${BAR - 1}V${HEIGHT}z`;
}
