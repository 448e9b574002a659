// @ts-check
/**
 * @typedef {{backend: string, active: string, exact: boolean, ms: number | null, low: number | null, high: number | null,
 *   spread: number | null, rounds: number, speedup: number | null, verdict: string, tflops: number | null, share: number | null,
 *   error: number | null, peak_gib: number | null, reason: string, kept: boolean}} Result
 * @typedef {{title: string, part: string, model: string, size: string, frames: number, dtype: string,
 *   heads: number | null, q_len: number | null, kv_len: number | null, rows: Result[]}} Place
 * @typedef {{schema: number, node: string | null, state: string, environment: Record<string, string | number | null>,
 *   baseline: string, places: Place[], answer: string, text: string, notes: string[]}} Bench
 */

import { createBars, refusals } from "./bars.js";
import { createButtons } from "../report/buttons.js";
import { amount, faultIn, listOf, orNull, table, text, whether } from "../report/check.js";
import { looksOf } from "../report/cells.js";
import { createSpoken, element, setItems, setText } from "../report/dom.js";
import { environmentLine, many, plain, state } from "../report/format.js";
import { FACTS } from "../report/schema.js";
import { installStyle, watchTone } from "../report/style.js";
import { createUpdater } from "../report/updater.js";
import { word } from "../report/words.js";

/** @type {Bench} */
const EMPTY = Object.freeze({ schema: 1, node: null, state: "idle", environment: {}, baseline: "", places: [], answer: "", text: "", notes: [] });

const RESULT = table(
  { backend: text, exact: whether, ms: orNull(amount), verdict: text, reason: text },
  {
    active: text, low: orNull(amount), high: orNull(amount), spread: orNull(amount), rounds: amount, speedup: orNull(amount),
    tflops: orNull(amount), share: orNull(amount), error: orNull(amount), peak_gib: orNull(amount), kept: whether,
  },
);
const PLACE = table(
  { title: text, size: text, dtype: text, heads: orNull(amount), rows: listOf(RESULT) },
  { part: text, frames: amount, q_len: orNull(amount), kv_len: orNull(amount) },
);
const BENCH = table({
  node: orNull(text), state: text, environment: FACTS, baseline: text, places: listOf(PLACE), answer: text, text, notes: listOf(text),
});

/** A payload in which nothing is missing; of one with something of a wrong type in it, what is wrong. @param {any} received @returns {Bench} */
export function completeBench(received) {
  const parts = Object.entries(EMPTY).map(([name, empty]) => [name, received?.[name] ?? empty]);
  const whole = { ...received, ...Object.fromEntries(parts) };
  const fault = faultIn(BENCH, whole);
  return fault ? { ...EMPTY, state: "unreadable", notes: [word("This measurement cannot be shown: {0}", fault)] } : whole;
}

/** How far it is. @param {Bench} bench */
export function measuredSoFar(bench) {
  const rows = bench.places.flatMap((place) => place.rows);
  const timed = rows.filter((row) => row.ms != null).length;
  const more = bench.state === "running" && timed === rows.length ? `, ${word("rounds go on")}` : "";
  return rows.length ? word("{0} of {1} measured", timed, many(rows.length, "row")) + more : "";
}

/** What stands above the bars: the answer's first sentence and the rest of it. @param {Bench} bench @returns {[string, string]} */
export function benchHeadline(bench) {
  const [, first, rest] = plain(bench.answer).match(/^(.*?[.])\s+([A-Z].*)$/) ?? [];
  if (bench.answer) return [first ?? plain(bench.answer), rest ?? ""];
  if (bench.state === "running") return [word("measuring"), ""];
  if (bench.state === "failed" && bench.notes.length) return [plain(bench.notes[bench.notes.length - 1]), ""];
  if (bench.places.length) return [bench.state === "interrupted" ? word("stopped before anything was measured") : word("nothing could be measured"), ""];
  return [plain(bench.notes[0]) || word("queue the workflow to measure"), ""];
}

/**
 * The live view of a benchmark.
 * @returns {{element: HTMLElement, update: (payload: any) => void, dispose: () => void}}
 */
export function createBench() {
  const root = element("div", "wanattn bench");
  const head = element("header");
  const line = element("div", "state");
  const [sign, name, done] = [element("span", "sign"), element("b"), element("span", "dim")];
  const title = element("div", "headline");
  const spoken = createSpoken();
  const rest = element("p");
  const places = element("div", "places");
  const refused = element("ul", "rest dim");
  const machine = element("p", "machine dim");
  const notes = element("ul", "unseen dim");
  const buttons = createButtons(() => updater.latest(), (/** @type {Bench} */ bench) => bench.text);
  /** @type {ReturnType<typeof createBars>[]} */
  const views = [];

  installStyle();
  sign.setAttribute("aria-hidden", "true");
  title.setAttribute("role", "heading");
  title.setAttribute("aria-level", "3");
  line.append(sign, name, done);
  head.append(line, title, rest, spoken.element);
  root.append(head, places, refused, machine, notes, buttons);
  const stopWatching = watchTone(root);
  const updater = createUpdater(root, draw);
  updater.update(completeBench(null));

  /** @param {Bench} bench */
  function draw(bench) {
    const now = state(bench);
    const [headline, more] = benchHeadline(bench);
    head.dataset.state = bench.state;
    setText(sign, now.sign);
    setText(name, now.word);
    setText(done, measuredSoFar(bench));
    setText(title, headline);
    spoken.tell(bench.state, now.word, headline);
    setText(rest, more);
    drawPlaces(bench);
    setItems(refused, refusals(bench.places));
    setText(machine, environmentLine(bench));
    setItems(notes, bench.notes.map(plain).filter((note) => note !== headline));
    buttons.hidden = bench.places.length === 0;
  }

  /** @param {Bench} bench */
  function drawPlaces(bench) {
    const looks = looksOf(bench.places.flatMap((place) => place.rows.map((row) => row.backend)));
    while (views.length > bench.places.length) views.pop()?.element.remove();
    while (views.length < bench.places.length) {
      views.push(createBars());
      places.append(views[views.length - 1].element);
    }
    bench.places.forEach((place, position) => views[position].update(place, looks));
  }

  function dispose() {
    stopWatching();
    updater.dispose();
  }

  return { element: root, update: (payload) => updater.update(completeBench(payload)), dispose };
}
