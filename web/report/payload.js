// @ts-check
/** @typedef {{ calls: number, hooked: number, past: { calls: number, role: string, how: string, ran: string }[] }} Account */
/**
 * @typedef {{run: number, state: string, steps: number, forwards: number, seconds: number, step_seconds: number[],
 *   peak_gib: number | null, rank?: number, calls: number, stride?: number, begun?: number}} Run with a stride, each of step_seconds is the mean of so many steps
 * @typedef {{role: string, batch: number, heads: number, q_len: number, kv_len: number, head_dim: number, dtype: string,
 *   mask: string, device: string, requested: string, active: string, evidence: string, calls: number,
 *   milliseconds: number | null, milliseconds_total: number | null, tflops: number | null, reasons: string[],
 *   mismatch: boolean, operators: string[], kernels: string[], rank?: number}} Row
 * @typedef {{device: string, rank?: number, card?: string, calls: number, milliseconds_total: number | null, tflops: number | null, peak_gib: number | null}} Device
 * @typedef {{role: string, run: number, blocks: number, steps: number, row: number[][], ms?: (number | null)[][],
 *   rank?: number, stride?: number}} Grid with a stride, a line of cells stands for so many steps
 * @typedef {{requested: string, active: string, reason: string, calls: number}} Fallback
 * @typedef {{sentence: string, advice?: string, step?: number | null, block?: number | null}} Failure what ended the run
 * @typedef {{attention: number | null, run: number | null, against: string, how: string}} Gain times faster than `against`
 * @typedef {{role: string, heads: number, q_len: number, kv_len: number, requested?: string, active?: string, reason?: string,
 *   math_gib?: number | null}} Forecast of a kind of call, before the run
 * @typedef {{width: number, height: number, frames: number}} Video
 * @typedef {{schema: number, node: string | null, state: string, environment: Record<string, string | number | null>,
 *   model: Record<string, unknown>, requested: string, totals: Record<string, number>, calls: number, dropped: number,
 *   mismatches: number, fallbacks: Fallback[], runs: Run[], rows: Row[], grid: Grid[] | null, coverage: string[], notes: string[],
 *   account?: Account, devices?: Device[],
 *   failure?: Failure | null, gain?: Gain | null, forecast?: Forecast[], files?: string[], workflow?: string, date?: string,
 *   video?: Video | null, left_out?: Record<string, number> | null, fault?: string | null}} Payload those with a question mark came later: an older report has none
 */

import { faultIn } from "./check.js";
import { PAYLOAD } from "./schema.js";
import { word } from "./words.js";

export const SCHEMA = 1;
const MOST_STEPS = 1000;
const MOST_CELLS = 10_000; // of one grid

/** @type {Payload} */
const EMPTY = Object.freeze({
  schema: SCHEMA,
  node: null,
  state: "idle",
  environment: {},
  model: {},
  requested: "",
  totals: {},
  calls: 0,
  dropped: 0,
  mismatches: 0,
  fallbacks: [],
  runs: [],
  rows: [],
  grid: null,
  coverage: [],
  notes: [],
});

/**
 * A payload in which nothing is missing; fields that only others know stay. A live update may leave out the grid, which then is null.
 * One with something of a wrong type in it is empty, and its `fault` says what is wrong.
 * @param {any} received
 * @returns {Payload}
 */
export function complete(received) {
  const parts = Object.entries(EMPTY).map(([name, empty]) => [name, received?.[name] ?? empty]);
  const whole = { ...received, ...Object.fromEntries(parts) };
  const fault = faultIn(PAYLOAD, whole);
  return fault ? { ...EMPTY, state: "unreadable", fault: word("This report cannot be shown: {0}", fault) } : whole;
}

/** How many of something a payload leaves out, since there were too many of them. @param {Payload} payload @param {string} what */
export function leftOut(payload, what) {
  return payload.left_out?.[what] ?? 0;
}

/** Steps that a run has begun. @param {Run} run */
export function begun(run) {
  return run.begun ?? run.step_seconds.length;
}

/** @param {Payload} payload */
export function newestRun(payload) {
  return payload.runs.at(-1) ?? null;
}

/** @type {WeakMap<Fallback[], Set<string>>} */
const fallen = new WeakMap();

/** @param {Payload} payload @param {Row} row */
export function isFallback({ fallbacks }, row) {
  const known = fallen.get(fallbacks) ?? new Set(fallbacks.map(pairOf));
  fallen.set(fallbacks, known);
  return known.has(pairOf(row));
}

/** @param {{requested: string, active: string}} from */
function pairOf({ requested, active }) {
  return `${requested}\0${active}`;
}

/** @type {WeakMap<Payload, number>} */
const seconds = new WeakMap();

/** How long the job's runs took so far. The host counts a forward when it ends, so that the first one's calls may know better.
 * @param {Payload} payload */
export function secondsOf(payload) {
  const known = seconds.get(payload) ?? summed(payload);
  seconds.set(payload, known);
  return known;
}

/** Ranks, and the devices of one, work at the same time. @param {Payload} payload */
function summed(payload) {
  /** @type {Map<unknown, number>} */
  const counted = new Map();
  for (const run of payload.runs) counted.set(run.rank, (counted.get(run.rank) ?? leftOut(payload, "seconds")) + (run.seconds ?? 0));
  /** @type {Map<string, number>} */
  const timed = new Map();
  for (const row of payload.rows) {
    const place = `${row.rank} ${row.device}`;
    timed.set(place, (timed.get(place) ?? 0) + (row.milliseconds_total ?? 0) / 1000);
  }
  return [...counted.values(), ...timed.values()].reduce((most, each) => Math.max(most, each), 0);
}

/** What a row's calls took of all the time that the model's forwards took, or null where nothing was timed.
 * @param {Payload} payload @param {Row} row */
export function shareOfTime(payload, row) {
  const seconds = secondsOf(payload);
  if (row.milliseconds_total == null || seconds <= 0) return null;
  return row.milliseconds_total / 1000 / seconds;
}

/** The grid with the steps that the newest run has still to take; of one that is too large to be drawn, its first lines.
 * @param {Payload} payload @param {Grid} grid @returns {Grid} */
export function planned(payload, grid) {
  const run = newestRun(payload);
  const steps = run && run.run === grid.run ? Math.ceil(Math.min(run.steps, MOST_STEPS) / (grid.stride ?? 1)) : 0;
  const most = Math.max(1, Math.floor(MOST_CELLS / Math.max(1, grid.blocks)));
  const missing = Math.min(steps, most) - grid.steps;
  if (grid.steps > most) return { ...grid, steps: most, row: grid.row.slice(0, most), ms: grid.ms?.slice(0, most) };
  if (missing <= 0) return grid;
  const none = Array.from({ length: missing }, () => Array(grid.blocks).fill(-1));
  const untimed = none.map((line) => line.map(() => null));
  return { ...grid, steps: grid.steps + missing, row: [...grid.row, ...none], ms: [...(grid.ms ?? []), ...untimed] };
}
