// @ts-check
/** @typedef {import("./check.js").Check} Check */
/** @typedef {import("./payload.js").Grid} Grid */

import { amount, listOf, number, oneOf, orNull, positive, table, tableOf, text, whether } from "./check.js";

/** Facts of a machine: a line of it has whatever can be written. */
export const FACTS = tableOf(orNull(oneOf([text, number, whether], "text or a number")));

const RUN = table(
  { run: amount, state: text, steps: amount, forwards: amount, seconds: amount, step_seconds: listOf(amount), calls: amount },
  { peak_gib: orNull(amount), stride: positive, begun: amount, rank: amount, device: orNull(text) },
);
const ROW = table(
  {
    role: text, batch: amount, heads: amount, q_len: amount, kv_len: amount, head_dim: amount, dtype: text, mask: text, requested: text,
    active: text, evidence: text, calls: amount, reasons: listOf(text),
  },
  {
    device: text, milliseconds: orNull(amount), milliseconds_total: orNull(amount), tflops: orNull(amount), mismatch: whether, via: text,
    protected: whether, operators: listOf(text), kernels: listOf(text), rank: amount,
  },
);
const CELLS = table(
  { role: text, run: amount, blocks: amount, steps: amount, row: listOf(listOf(number)) },
  { ms: listOf(listOf(orNull(amount))), stride: positive, rank: amount },
);
const FALLBACK = table({ requested: text, active: text, reason: text, calls: amount });
const DEVICE = table(
  { device: text, calls: amount },
  {
    milliseconds_total: orNull(amount), tflops: orNull(amount), peak_gib: orNull(amount), rank: amount, card: orNull(text), mode: orNull(text),
    measuring_ms: orNull(amount),
  },
);
const PAST = table({ calls: amount, role: text, how: text, ran: text });
const FAILURE = table({ sentence: text }, { advice: text, step: orNull(number), block: orNull(number) });
const GAIN = table({ attention: orNull(amount), run: orNull(amount), against: text }, { how: text });
const FORECAST = table(
  { role: text, heads: amount, q_len: amount, kv_len: amount },
  { requested: text, active: text, reason: text, math_gib: orNull(amount) },
);

const MODEL = table({}, { class: orNull(text), wan: orNull(whether), file: orNull(text), expert: orNull(text) });

/** A grid's sizes are those of its lines. @type {Check} */
const grid = (value) => CELLS(value) ?? misfit(/** @type {Grid} */ (value));

/** @param {Grid} grid */
function misfit({ steps, blocks, row }) {
  if (!row.length) return null;
  if (row.length !== steps) return { path: ".steps", told: `is ${steps}, needs ${row.length} as its rows have` };
  const odd = row.findIndex((line) => line.length !== blocks);
  return odd < 0 ? null : { path: `.row[${odd}]`, told: `has ${row[odd].length} blocks, needs ${blocks}` };
}

/** A whole payload, schema 1. */
export const PAYLOAD = table(
  {
    schema: number, node: orNull(text), state: text, environment: FACTS, model: MODEL,
    requested: text, totals: tableOf(amount), calls: amount, dropped: amount, mismatches: amount, fallbacks: listOf(FALLBACK), runs: listOf(RUN),
    rows: listOf(ROW), grid: orNull(listOf(grid)), coverage: listOf(text), notes: listOf(text),
  },
  {
    account: orNull(table({ calls: amount, hooked: amount, past: listOf(PAST) })), failure: orNull(FAILURE), gain: orNull(GAIN),
    forecast: orNull(listOf(FORECAST)), files: orNull(listOf(text)), workflow: orNull(text), date: orNull(text),
    video: orNull(table({ width: amount, height: amount, frames: amount })), fault: orNull(text),
    devices: orNull(listOf(DEVICE)),
    left_out: orNull(tableOf(amount)),
  },
);
