// @ts-check
/** @typedef {import("./bench.js").Place} Place */
/** @typedef {import("./bench.js").Result} Result */
/** @typedef {{result: Result, look: string, width: number, low: number, high: number, facts: string[]}} Bar */

import { element, setText, shape } from "../report/dom.js";
import { backendName, figure, label, percent, plain } from "../report/format.js";

/** Those with a time, fastest first; widths and whiskers are shares of the longest time, 0 to 1.
 * @param {Place} place @param {Map<string, string>} looks @returns {Bar[]} */
export function barsOf(place, looks) {
  const timed = place.rows.filter((row) => row.ms != null).sort((left, right) => time(left) - time(right));
  const longest = timed.reduce((most, row) => Math.max(most, row.high ?? time(row)), 0) || 1;
  return timed.map((result) => ({
    result,
    look: looks.get(result.backend) ?? "",
    width: time(result) / longest,
    low: (result.low ?? time(result)) / longest,
    high: (result.high ?? time(result)) / longest,
    facts: factsOf(result),
  }));
}

/** @param {Result} result */
function time(result) {
  return result.ms ?? 0;
}

/** What is known of a result besides its time, most telling first. @param {Result} result */
export function factsOf(result) {
  const share = result.share == null ? "" : `, ${percent(result.share, 1)} of matrix rate`;
  return [
    result.active && result.active !== result.backend ? `ran ${backendName(result.active)}` : "",
    result.exact ? "" : "approximate",
    result.spread == null ? "" : `spread ${spread(result.spread)}`,
    result.tflops == null ? "" : `${figure(result.tflops)} TFLOP/s${share}`,
    result.error == null ? "" : `error ${result.error.toExponential(1)}`,
    result.peak_gib ? `peak ${figure(result.peak_gib)} GiB` : "",
    result.kept ? "kept for auto" : "",
    result.reason ? plain(result.reason) : "",
  ].filter(Boolean);
}

/** @param {number} share */
function spread(share) {
  return share < 0.1 ? `${(100 * share).toFixed(1)}\u00a0%` : percent(share, 1);
}

/** A sentence for each backend and reason, with the places counted where it is not all of them. @param {Place[]} places */
export function refusals(places) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const row of places.flatMap((place) => place.rows)) {
    if (row.ms != null || !row.reason) continue;
    const sentence = `${backendName(row.backend)} not measured: ${plain(row.reason)}`;
    found.set(sentence, (found.get(sentence) ?? 0) + 1);
  }
  return [...found].map(([sentence, times]) => (times === places.length ? sentence : `${sentence} (${times} of ${places.length} places)`));
}

/** One place: a bar for each backend that was timed. */
export function createBars() {
  const root = element("section", "place");
  const caption = element("div", "label");
  const name = element("b");
  const detail = element("span", "dim");
  const list = element("ul", "race");
  /** @type {Map<string, ReturnType<typeof createBar>>} */
  let views = new Map();

  list.setAttribute("role", "list"); // a list without markers is none to some screen readers
  caption.append(name, detail);
  root.append(caption, list);

  /** @param {Place} place @param {Map<string, string>} looks */
  function update(place, looks) {
    setText(name, plain(place.title));
    setText(detail, [label(place.size), place.heads ? `${figure(place.heads)} heads` : "", label(place.dtype)].filter(Boolean).join(" · "));
    const bars = barsOf(place, looks);
    list.setAttribute("aria-label", `milliseconds of a call, fastest first: ${plain(place.title)}`);
    const kept = new Map();
    for (const bar of bars) {
      const view = views.get(bar.result.backend) ?? createBar();
      view.update(bar);
      kept.set(bar.result.backend, view);
    }
    views = kept;
    const items = [...kept.values()].map((view) => view.element);
    if (items.length !== list.children.length || items.some((item, position) => list.children[position] !== item)) list.replaceChildren(...items);
    list.hidden = items.length === 0;
  }

  return { element: root, update };
}

function createBar() {
  const root = element("li");
  const name = element("span", "name");
  const picture = shape("svg", { class: "track", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const fill = shape("rect", { x: 0, y: 1, height: 8 });
  const whisker = shape("path", { class: "whisker" });
  const milliseconds = element("span", "ms");
  const verdict = element("span", "verdict");
  const facts = element("span", "facts-line dim");

  picture.append(fill, whisker);
  root.append(name, picture, milliseconds, verdict, facts);

  /** @param {Bar} bar */
  function update({ result, look, width, low, high, facts: known }) {
    setText(name, backendName(result.backend));
    fill.setAttribute("class", `fill ${look}`);
    fill.setAttribute("width", (100 * width).toFixed(2));
    whisker.setAttribute("d", `M${(100 * low).toFixed(2)} 5H${(100 * high).toFixed(2)}M${(100 * low).toFixed(2)} 2.5v5M${(100 * high).toFixed(2)} 2.5v5`);
    setText(milliseconds, `${figure(result.ms)} ms`);
    setText(verdict, label(result.verdict));
    setText(facts, known.join(" · "));
  }

  return { element: root, update };
}
