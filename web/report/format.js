// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Row} Row */
/** @typedef {import("./payload.js").Run} Run */
/** @typedef {import("./payload.js").Fallback} Fallback */

import { begun, leftOut, newestRun, secondsOf } from "./payload.js";
import { shortened } from "./dom.js";
import { word } from "./words.js";

const MOST_PARTS = 4;

const LONGEST_TEXT = 400;
const LONGEST_NAME = 60;
const HEADLINE_BACKENDS = 4;
const NAMES = new Map([["cudnn", "cuDNN"]]);
const GROUPED = new Intl.NumberFormat("en-US"); // to look it up for each number takes longer than to write it
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;

/** @param {unknown} value @param {number} longest in characters */
function bounded(value, longest) {
  const text = String(value ?? "").slice(0, 4 * longest).replace(CONTROLS, " ").trim();
  const characters = Array.from(text);
  const cut = characters.length > longest ? `${characters.slice(0, longest).join("")}…` : text;
  return RIGHT_TO_LEFT.test(cut) ? `\u2068${cut}\u2069` : cut;
}

/** Foreign text for one line: no control characters, bounded, and its writing direction kept to itself.
 * @param {unknown} value */
export function plain(value) {
  return bounded(value, LONGEST_TEXT);
}

/** A role, a dtype, a kind of evidence: foreign text that should be a word or two. @param {unknown} value */
export function label(value) {
  return bounded(value, LONGEST_NAME);
}

/** @param {unknown} name */
export function backendName(name) {
  return NAMES.get(String(name)) ?? (label(name) || "unknown");
}

/** @param {number} value */
export function count(value) {
  return GROUPED.format(Math.round(Number(value) || 0));
}

/** Three figures that mean something; a dash where nothing was measured.
 * @param {number | null | undefined} value */
export function figure(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 100 ? count(value) : String(Number(value.toPrecision(3)));
}

/** Never says 0 % or 100 % of a share that is neither.
 * @param {number} part @param {number} whole */
export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (part > 0 && share < 0.5) return "<1\u00a0%";
  if (part < whole && share >= 99.5) return ">99\u00a0%";
  return `${Math.round(share)}\u00a0%`;
}

/** An amount in the user's language. @param {number} amount @param {"step" | "call" | "frame" | "token" | "key" | "head" | "row"} noun */
export function many(amount, noun) {
  return word(amount === 1 ? `{0} ${noun}` : `{0} ${noun}s`, count(amount));
}

/** @param {string} requested */
function requestedNames(requested) {
  const names = requested.split(", ");
  return requested ? shortened(names.slice(0, HEADLINE_BACKENDS).map(backendName), HEADLINE_BACKENDS, Math.max(0, names.length - HEADLINE_BACKENDS)).join(", ") : "host";
}

/** @param {Payload} payload @returns {[string, number][]} most used first */
export function shares(payload) {
  const found = sorted.get(payload) ?? Object.entries(payload.totals).sort((left, right) => right[1] - left[1]);
  sorted.set(payload, found);
  return found;
}

/** @type {WeakMap<Payload, [string, number][]>} */
const sorted = new WeakMap();

/** @param {Payload} payload */
export function headline(payload) {
  if (payload.fault) return plain(payload.fault);
  if (!payload.calls) return word(NOTHING.get(payload.state) ?? "no attention call yet");
  const all = shares(payload);
  const said = all.slice(0, HEADLINE_BACKENDS).map(([name, calls]) => `${backendName(name)} ${percent(calls, payload.calls)}`);
  const rest = all.length > HEADLINE_BACKENDS ? ` ${word("and {0} more", all.length - HEADLINE_BACKENDS)}` : "";
  return `${requestedNames(payload.requested)} → ${said.join(", ")}${rest}`;
}

const NOTHING = new Map([
  ["running", "waiting for the first attention call"],
  ["failed", "stopped before the first attention call"],
]);
const STATES = new Map([
  ["running", ["●", "running"]],
  ["finished", ["✓", "finished"]],
  ["interrupted", ["■", "interrupted"]],
  ["failed", ["✕", "failed"]],
  ["idle", ["○", "no run yet"]],
  ["bypassed", ["⊘", "bypassed"]],
  ["unreadable", ["✕", "cannot be shown"]],
  ["reloaded", ["◌", "was running when the page was reloaded"]],
]);

/** @param {{state: string}} payload @returns {{sign: string, word: string}} */
export function state(payload) {
  const [sign, name] = STATES.get(payload.state) ?? ["○", label(payload.state)];
  return { sign, word: word(name) };
}

/** What the run has done so far. @param {Payload} payload */
export function progress(payload) {
  const run = newestRun(payload);
  if (!run) return "";
  const done = begun(run);
  const underWay = payload.state === "running" && run.steps > 0;
  const steps = underWay ? word("step {0} of 0–{1}", count(Math.max(0, done - 1)), count(run.steps - 1)) : many(done, "step");
  const parts = [steps, many(payload.calls, "call"), word("{0} s", figure(secondsOf(payload)))];
  const runs = payload.runs.length + leftOut(payload, "runs");
  if (runs > 1) parts.unshift(word("run {0}", runs));
  if (payload.node?.includes(":")) parts.push(word("node {0}", label(payload.node)));
  return parts.join(" · ");
}

/** @param {Fallback} fallback @param {number} calls */
export function fallbackSentence(fallback, calls) {
  const amount = [count(fallback.calls), many(calls, "call")];
  const active = backendName(fallback.active);
  const reason = plain(fallback.reason);
  if (fallback.requested === "auto") return word("{0} of {1} fell back to {2}: {3}", ...amount, active, reason);
  return word("{0} of {1} asked for {2} and ran {3}: {4}", ...amount, backendName(fallback.requested), active, reason);
}

/** What did not come through the host's hook, or "". @param {Payload} payload */
export function accountSentence(payload) {
  const past = payload.account?.past ?? [];
  if (!past.length) return "";
  const calls = (payload.account?.calls ?? 0) - (payload.account?.hooked ?? 0);
  const parts = past.slice(0, MOST_PARTS).map((part) => `${count(part.calls)} ${plain(part.role)} ${part.ran ? word("ran {0}", backendName(part.ran)) : word("unseen")}, ${plain(part.how)}`);
  const rest = past.length - parts.length + leftOut(payload, "past");
  const more = rest ? [word("{0} more", rest)] : [];
  return word("{0} of {1} did not come through the hook: {2}", count(calls), many(payload.account?.calls ?? 0, "call"), [...parts, ...more].join("; "));
}

/** How many calls ran on something else than what was forced, as a sentence, or "". @param {Payload} payload */
export function contradiction(payload) {
  if (!payload.mismatches) return "";
  return word("in {0} of {1} the profiler saw another backend than the one that was forced", count(payload.mismatches), many(payload.calls, "call"));
}

/** The query: batch, heads, tokens, head_dim. @param {Row} row */
export function shape(row) {
  return [row.batch, row.heads, row.q_len, row.head_dim].map(count).join("×");
}

const DTYPES = new Map([["bfloat16", "bf16"], ["float16", "fp16"], ["float32", "fp32"]]);

/** What else sets the call apart: keys that are not the query's own tokens, dtype, mask. @param {Row} row */
export function kind(row) {
  const dtype = String(row.dtype ?? "").replace(/^torch\./, "");
  const parts = [DTYPES.get(dtype) ?? label(dtype)];
  if (row.kv_len !== row.q_len) parts.unshift(many(row.kv_len, "key"));
  if (row.mask && row.mask !== "none") parts.push(word("{0} mask", label(row.mask)));
  return parts.join(", ");
}

const MACHINE = [
  ["gpu", ""], ["memory_gib", ""], ["torch", "torch"], ["cuda", "CUDA"], ["hip", "HIP"], ["cudnn", "cuDNN"],
  ["comfyui", "ComfyUI"], ["host_attention", "host attention"], ["wanattn", "wanattn"], ["python", "Python"], ["platform", ""],
];

/** @param {{environment: Record<string, string | number | null>}} payload */
export function environmentLine(payload) {
  const facts = payload.environment;
  const known = MACHINE.filter(([name]) => Object.hasOwn(facts, name) && facts[name] != null && facts[name] !== "");
  return known.map(([name, title]) => `${title && `${word(title)} `}${plain(facts[name])}${name === "memory_gib" ? " GiB" : ""}`).join(" · ");
}

// What the server always says in the same words.
const PHRASES = ["high noise", "low noise", "ComfyUI's default", "timed beside it at the first call of each kind"];

/** @param {unknown} value */
function phrase(value) {
  return PHRASES.includes(String(value)) ? word(String(value)) : plain(value);
}

/** Which model made which video when, as far as it is known. @param {Payload} payload */
export function about({ model, video, date }) {
  const size = video ? `${count(video.width)}×${count(video.height)}, ${many(video.frames, "frame")}` : "";
  return [plain(model.file), phrase(model.expert), size, plain(date)].filter(Boolean).join(" · ");
}

/** @param {Run | null} run */
export function peak(run) {
  return run?.peak_gib == null ? "" : word("peak {0} GiB", figure(run.peak_gib));
}

/** Where calls ran: processes have ranks, and each its own names of devices. @param {{device: string, rank?: number}} place */
export function placeText({ device, rank }) {
  return rank == null ? plain(device) : word("rank {0} {1}", rank, plain(device));
}

/** What each of several devices did; nothing where one did all. @param {Payload} payload */
export function deviceLines({ devices }) {
  return (devices ?? []).map((device) => {
    const facts = [
      plain(device.card ?? ""),
      many(device.calls, "call"),
      device.milliseconds_total == null ? "" : word("{0} s in attention", figure(device.milliseconds_total / 1000)),
      device.tflops == null ? "" : `${figure(device.tflops)} TFLOP/s`,
      device.peak_gib == null ? "" : word("peak {0} GiB", figure(device.peak_gib)),
    ];
    return `${placeText(device)}: ${facts.filter(Boolean).join(", ")}`;
  });
}

/** What ended a run, where it ended, and what to change. @param {Payload} payload @returns {{told: string, advice: string}} */
export function failureOf(payload) {
  const { failure } = payload;
  if (!failure) return { told: "", advice: "" };
  const where = [failure.step == null ? "" : word("step {0}", failure.step), failure.block == null ? "" : word("block {0}", failure.block)].filter(Boolean).join(", ");
  const told = where ? word("stopped at {0}: {1}", where, plain(failure.sentence)) : word("stopped: {0}", plain(failure.sentence));
  return { told, advice: plain(failure.advice) };
}

/** What the choice gains, where it was measured. @param {Payload} payload */
export function gainSentence({ gain }) {
  const times = (/** @type {string} */ what, /** @type {number | null | undefined} */ factor) =>
    factor ? word(what, factor < 10 ? factor.toFixed(2) : figure(factor)) : "";
  const said = gain ? [times("attention {0}x", gain.attention), times("whole run {0}x", gain.run)].filter(Boolean).join(", ") : "";
  return gain && said ? `${word("{0} as fast as {1}", said, phrase(gain.against))}${gain.how ? `, ${phrase(gain.how)}` : ""}` : "";
}

/** @param {number[]} seconds of each step @param {string} last what to say of the last step where it is not done, such as "step {0} under way"
 * @param {number} stride steps that each of the seconds is the mean of @returns {string} */
export function stepsSentence(seconds, last = "", stride = 1) {
  if (!seconds.length) return word("no step yet");
  if (last) return [word(last, seconds.length - 1), seconds.length > 1 ? stepsSentence(seconds.slice(0, -1)) : ""].filter(Boolean).join(" · ");
  const sorted = [...seconds].sort((left, right) => left - right);
  const median = (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2;
  const longest = sorted[sorted.length - 1];
  const place = seconds.indexOf(longest);
  if (stride === 1) return word("median {0} s, longest {1} s at step {2}", figure(median), figure(longest), place);
  const range = `${place * stride}–${(place + 1) * stride - 1}`;
  return word("median {0} s, longest {1} s at steps {2}, each bar the mean of {3} steps", figure(median), figure(longest), range, stride);
}
