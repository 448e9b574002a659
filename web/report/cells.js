// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Row} Row */
/** @typedef {import("./payload.js").Grid} Grid */
/** @typedef {{text: string, kind: "place" | "active" | "alarm" | "dim"}} Fact */

import { shortened } from "./dom.js";
import { backendName, count, figure, kind, label, many, placeText, plain, shape } from "./format.js";
import { isFallback } from "./payload.js";
import { word } from "./words.js";

export const LEVELS = 7;
const LOGARITHMIC_FROM = 8;
export const MOST_REASONS = 24; // of one row
const MOST_SORTED = 1000; // names that a workflow may bring
const KNOWN = ["cudnn", "flash", "efficient", "math"];
const OTHERS = 3;

/** @type {WeakMap<Payload, Map<string, string>>} */
const known = new WeakMap();

/** A colour for each active backend. @param {Payload} payload */
export function looks(payload) {
  const found = known.get(payload) ?? looksOf([...Object.keys(payload.totals), ...payload.rows.map((row) => row.active)]);
  known.set(payload, found);
  return found;
}

/** The known backends keep their colours, others take turns.
 * @param {Iterable<string>} backends @returns {Map<string, string>} backend to the name of its look */
export function looksOf(backends) {
  const names = new Set(backends);
  const others = [...names].filter((name) => !KNOWN.includes(name));
  if (others.length <= MOST_SORTED) others.sort();
  const turns = new Map(others.map((name, position) => [name, `other${position % OTHERS}`]));
  return new Map([...names].map((name) => [name, turns.get(name) ?? name]));
}

/** @param {Row} row @param {number | null} milliseconds of one call */
export function tflops(row, milliseconds) {
  if (!milliseconds) return null;
  return (4 * row.batch * row.heads * row.q_len * row.kv_len * row.head_dim) / milliseconds / 1e9;
}

/** @param {Grid} grid @param {Row[]} rows @param {number} step @param {number} block @returns {Row | null} */
export function rowAt(grid, rows, step, block) {
  return rows[grid.row[step]?.[block] ?? -1] ?? null;
}

/** The number that a cell's colour stands for, null where there is none.
 * @param {Grid} grid @param {Row[]} rows @param {"time" | "tflops"} colour */
export function valuesOf(grid, rows, colour) {
  return grid.row.map((line, step) =>
    line.map((index, block) => {
      const milliseconds = grid.ms?.[step]?.[block] ?? null;
      if (index < 0 || milliseconds == null) return null;
      return colour === "time" ? milliseconds : tflops(rows[index], milliseconds);
    }),
  );
}

/** Sorts values into LEVELS colours; by ratio where the largest dwarfs the smallest.
 * @param {(number | null)[][]} values */
export function scaleOf(values) {
  const known = /** @type {number[]} */ (values.flat().filter((value) => value != null && value > 0));
  if (!known.length) return null;
  const low = known.reduce((least, value) => Math.min(least, value));
  const high = known.reduce((most, value) => Math.max(most, value));
  const logarithmic = high / low > LOGARITHMIC_FROM;
  const position = logarithmic
    ? (/** @type {number} */ value) => Math.log(value / low) / Math.log(high / low)
    : (/** @type {number} */ value) => (value - low) / (high - low || 1);
  /** @param {number} value */
  const level = (value) => Math.max(0, Math.min(LEVELS - 1, Math.floor(position(value) * LEVELS)));
  return { low, high, logarithmic, level };
}

/** @param {Grid} grid @param {Row[]} rows @returns {Map<string, number>} active backend to cells */
function tally(grid, rows) {
  const cells = new Map();
  for (const index of grid.row.flat()) {
    if (rows[index]) cells.set(rows[index].active, (cells.get(rows[index].active) ?? 0) + 1);
  }
  return cells;
}

/** The grid in one sentence. @param {Grid} grid @param {Row[]} rows */
export function gridSentence(grid, rows) {
  const cells = [...tally(grid, rows)].sort((left, right) => right[1] - left[1]);
  const ran = cells.map(([name, amount]) => word("{0} in {1}", backendName(name), count(amount))).join(", ");
  const size = [count(grid.blocks), count(grid.steps * (grid.stride ?? 1))];
  return word("{0} attention, {1} blocks by {2} steps: {3}", label(grid.role), ...size, ran || word("no call yet"));
}

/** Neighbours with the same text become one. @param {string[]} texts @returns {{first: number, last: number, text: string}[]} */
function stretches(texts) {
  /** @type {{first: number, last: number, text: string}[]} */
  const found = [];
  texts.forEach((text, position) => {
    const previous = found.at(-1);
    if (previous?.text === text) previous.last = position;
    else found.push({ first: position, last: position, text });
  });
  return found;
}

/** @param {string} one @param {string} many @param {number} first @param {number} last */
function range(one, many, first, last) {
  return first === last ? word(one, first) : word(many, first, last);
}

/** @param {number} first @param {number} last */
const blocksOf = (first, last) => range("block {0}", "blocks {0}–{1}", first, last);

/** The steps of a line of cells: `step 3`, `steps 30–39`. @param {{stride?: number}} grid @param {number} line @param {number} [last] line */
export function stepsOf({ stride = 1 }, line, last = line) {
  return range("step {0}", "steps {0}–{1}", line * stride, (last + 1) * stride - 1);
}

/** The whole grid in words, equal steps and equal blocks together. @param {Grid} grid @param {Row[]} rows */
export function gridLines(grid, rows) {
  const lines = grid.row.map((line) => {
    const names = line.map((index) => (rows[index] ? backendName(rows[index].active) : word("no call")));
    return stretches(names).map(({ first, last, text }) => `${blocksOf(first, last)} ${text}`).join(", ");
  });
  return stretches(lines).map(({ first, last, text }) => `${stepsOf(grid, first, last)}: ${text}`);
}

/** What is known of one cell, most telling first.
 * @param {Payload} payload @param {Grid} grid @param {number} step @param {number} block @returns {Fact[]} */
export function cellFacts(payload, grid, step, block) {
  const place = /** @type {Fact} */ ({ text: `${label(grid.role)}, ${stepsOf(grid, step)}, ${blocksOf(block, block)}`, kind: "place" });
  const row = rowAt(grid, payload.rows, step, block);
  if (!row) return [place, { text: (grid.row[step]?.[block] ?? -1) < -1 ? word("a call of a row that is left out here") : word("no call seen"), kind: "dim" }];
  const milliseconds = grid.ms?.[step]?.[block] ?? null;
  const fallback = isFallback(payload, row);
  /** @type {Fact[]} */
  const facts = [place, { text: `${fallback ? "⚠ " : ""}${backendName(row.requested)} → ${backendName(row.active)}`, kind: fallback ? "alarm" : "active" }];
  if (milliseconds != null) facts.push({ text: `${figure(milliseconds)} ms, ${figure(tflops(row, milliseconds))} TFLOP/s`, kind: "active" });
  if (payload.devices) facts.push({ text: placeText(row), kind: "dim" });
  facts.push({ text: `${shape(row)}, ${kind(row)}`, kind: "dim" });
  facts.push({ text: `${row.mismatch ? "✕ " : ""}${label(row.evidence)}`, kind: row.mismatch ? "alarm" : "dim" });
  const reasons = shortened(row.reasons.slice(0, MOST_REASONS).map(plain), MOST_REASONS, Math.max(0, row.reasons.length - MOST_REASONS));
  return [...facts, ...reasons.map((reason) => /** @type {Fact} */ ({ text: reason, kind: fallback ? "alarm" : "dim" }))];
}

/** What a role's calls have in common, for the label above its grid. @param {Grid} grid @param {Row[]} rows */
export function gridLabel(grid, rows) {
  /** @type {Row | null} */
  let own = null;
  for (const row of rows) if (row.role === grid.role && (!own || row.calls > own.calls)) own = row;
  if (!own) return "";
  const size = own.kv_len === own.q_len ? many(own.q_len, "token") : many(own.kv_len, "key");
  return `${many(own.heads, "head")} × ${count(own.head_dim)}, ${size}`;
}
