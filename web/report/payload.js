// @ts-check
/** @typedef {{ calls: number, hooked: number, past: { calls: number, role: string, how: string, ran: string }[] }} Account */
/**
 * @typedef {{run: number, state: string, steps: number, forwards: number, seconds: number, step_seconds: number[],
 *   peak_gib: number | null, rank?: number, calls: number}} Run
 * @typedef {{role: string, batch: number, heads: number, q_len: number, kv_len: number, head_dim: number, dtype: string,
 *   mask: string, device: string, requested: string, active: string, evidence: string, calls: number,
 *   milliseconds: number | null, milliseconds_total: number | null, tflops: number | null, reasons: string[],
 *   mismatch: boolean, operators: string[], kernels: string[], rank?: number}} Row
 * @typedef {{device: string, rank?: number, card?: string, calls: number, milliseconds_total: number | null, tflops: number | null, peak_gib: number | null}} Device
 * @typedef {{role: string, run: number, blocks: number, steps: number, row: number[][], ms: (number | null)[][], rank?: number}} Grid
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
 *   video?: Video | null}} Payload those with a question mark came later: an older report has none
 */

export const SCHEMA = 1;
const MOST_STEPS = 1000;

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
 * @param {any} received
 * @returns {Payload}
 */
export function complete(received) {
  const parts = Object.entries(EMPTY).map(([name, empty]) => [name, received?.[name] ?? empty]);
  return { ...received, ...Object.fromEntries(parts) };
}

/** @param {Payload} payload */
export function newestRun(payload) {
  return payload.runs.at(-1) ?? null;
}

/** @param {Payload} payload @param {Row} row */
export function isFallback(payload, row) {
  return payload.fallbacks.some(
    (fallback) => fallback.requested === row.requested && fallback.active === row.active,
  );
}

/** How long the job's runs took so far. The host counts a forward when it ends, so that the first one's calls may know better.
 * @param {Payload} payload */
export function secondsOf(payload) {
  /** @type {Map<unknown, number>} ranks work at the same time */
  const counted = new Map([["", 0]]);
  for (const run of payload.runs) counted.set(run.rank, (counted.get(run.rank) ?? 0) + (run.seconds ?? 0));
  /** @type {Map<string, number>} devices work at the same time */
  const timed = new Map();
  for (const row of payload.rows) {
    const place = `${row.rank} ${row.device}`;
    timed.set(place, (timed.get(place) ?? 0) + (row.milliseconds_total ?? 0) / 1000);
  }
  return Math.max(...counted.values(), ...timed.values());
}

/** What a row's calls took of all the time that the model's forwards took, or null where nothing was timed.
 * @param {Payload} payload @param {Row} row */
export function shareOfTime(payload, row) {
  const seconds = secondsOf(payload);
  if (row.milliseconds_total == null || seconds <= 0) return null;
  return row.milliseconds_total / 1000 / seconds;
}

/** The grid with the steps that the newest run has still to take. @param {Payload} payload @param {Grid} grid @returns {Grid} */
export function planned(payload, grid) {
  const run = newestRun(payload);
  const missing = run && run.run === grid.run ? Math.min(run.steps, MOST_STEPS) - grid.steps : 0;
  if (missing <= 0) return grid;
  const none = Array.from({ length: missing }, () => Array(grid.blocks).fill(-1));
  const untimed = none.map((line) => line.map(() => null));
  return { ...grid, steps: grid.steps + missing, row: [...grid.row, ...none], ms: [...grid.ms, ...untimed] };
}
