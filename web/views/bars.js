// @ts-check
/** @typedef {import("./bench.js").Place} Place */
/** @typedef {import("./bench.js").Result} Result */
/** @typedef {{result: Result, look: string, width: number, low: number, high: number, facts: string[]}} Bar */

import { element, setText, shape } from "../report/dom.js";
import { backendName, count, figure, label, many, percent, plain } from "../report/format.js";
import { word } from "../report/words.js";

/** What the server says of a backend beside the baseline. @type {[RegExp, (value: string) => string][]} */
const VERDICTS = [
  [/^(baseline)$/, () => word("baseline")],
  [/^([\d.]+)x faster$/, (times) => word("{0}x faster", times)],
  [/^([\d.]+)x slower$/, (times) => word("{0}x slower", times)],
  [/^([\d.]+)x, measured once$/, (times) => word("{0}x, measured once", times)],
  [/^same within ([\d.]+ %)$/, (share) => word("same within {0}", share)],
];

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
  const share = result.share == null ? "" : `, ${word("{0} of matrix rate", percent(result.share, 1))}`;
  return [
    result.active && result.active !== result.backend ? word("ran {0}", backendName(result.active)) : "",
    result.exact ? "" : word("approximate"),
    result.spread == null ? "" : word("spread {0}", spread(result.spread)),
    result.tflops == null ? "" : `${figure(result.tflops)} TFLOP/s${share}`,
    result.error == null ? "" : word("error {0}", result.error.toExponential(1)),
    result.peak_gib ? word("peak {0} GiB", figure(result.peak_gib)) : "",
    result.kept ? word("kept for auto") : "",
    result.reason ? plain(result.reason) : "",
  ].filter(Boolean);
}

/** Beside the baseline, in the user's language where the server's words are known. @param {Result} result */
export function verdictOf({ verdict }) {
  for (const [form, say] of VERDICTS) {
    const found = verdict.match(form);
    if (found) return say(found[1]);
  }
  return label(verdict);
}

/** Which calls these are: the server's title, in the user's language. @param {Place} place */
export function titleOf({ title, part, q_len: queries, kv_len: keys, frames }) {
  if (!queries || !part) return plain(title);
  const lengths = keys == null || keys === queries ? count(queries) : `${count(queries)} x ${count(keys)}`;
  return plain([`${part} ${word("{0} tokens", lengths)}`, frames ? many(frames, "frame") : ""].filter(Boolean).join(", "));
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
    const sentence = word("{0} not measured: {1}", backendName(row.backend), plain(row.reason));
    found.set(sentence, (found.get(sentence) ?? 0) + 1);
  }
  return [...found].map(([sentence, times]) => (times === places.length ? sentence : word("{0} ({1} of {2} places)", sentence, times, places.length)));
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
    setText(name, titleOf(place));
    setText(detail, [label(place.size), place.heads ? many(place.heads, "head") : "", label(place.dtype)].filter(Boolean).join(" · "));
    const bars = barsOf(place, looks);
    list.setAttribute("aria-label", word("milliseconds of a call, fastest first: {0}", titleOf(place)));
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
    setText(verdict, verdictOf(result));
    setText(facts, known.join(" · "));
  }

  return { element: root, update };
}
