import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { barsOf, factsOf, refusals, titleOf, verdictOf } from "../../web/views/bars.js";
import { benchHeadline, completeBench, measuredSoFar } from "../../web/views/bench.js";
import { looksOf } from "../../web/report/cells.js";
import { backendName } from "../../web/report/format.js";
import { speak } from "../../web/report/words.js";
import { fixture } from "./fixtures.js";

const finished = completeBench(fixture("bench_finished"));
const [, , longest] = finished.places;
const bars = (place) => barsOf(place, looksOf(place.rows.map((row) => row.backend)));
const rowOf = (name) => longest.rows.find((row) => row.backend === name);

test("bars stand fastest first and are as long as their times", () => {
  const made = bars(longest);
  assert.deepEqual(made.map((bar) => bar.result.backend), ["fa3_fp8", "fa3", "cudnn", "flash", "host", "efficient"]);
  const [first, , , , , last] = made;
  assert.ok(Math.abs(first.width / last.width - first.result.ms / last.result.ms) < 1e-9);
  assert.equal(last.high, 1);
});

test("a whisker reaches from the shortest to the longest time", () => {
  for (const { result, width, low, high } of bars(longest)) {
    assert.ok(low <= width && width <= high && high <= 1, result.backend);
    assert.ok(Math.abs(low / width - result.low / result.ms) < 1e-9);
  }
});

test("backends with a colour of their own keep it", () => {
  const looks = new Map(bars(longest).map((bar) => [bar.result.backend, bar.look]));
  assert.equal(looks.get("cudnn"), "cudnn");
  assert.notEqual(looks.get("fa3"), looks.get("host"));
});

test("facts say in words what ran, what is approximate and what is kept", () => {
  assert.ok(factsOf(rowOf("host")).includes("ran pytorch"));
  assert.ok(factsOf(rowOf("fa3")).includes("kept for auto"));
  assert.ok(!factsOf(rowOf("fa3")).includes("approximate"));
  const loose = factsOf(rowOf("fa3_fp8")).join(" · ");
  assert.match(loose, /^approximate · spread 0\.2\u00a0% · .* TFLOP\/s, 124\u00a0% of matrix rate · error 5\.1e-2 · peak 1\.6 GiB$/);
});

test("a reason that holds everywhere is told once, another one with its places", () => {
  assert.deepEqual(refusals(finished.places), ["sage not measured: sageattention not installed (No module named 'sageattention')"]);
  const places = finished.places.map((place, position) => ({ ...place, rows: place.rows.map((row) => ({ ...row, reason: position ? "" : row.reason })) }));
  assert.match(refusals(places)[0], /\(1 of 4 places\)$/);
  assert.deepEqual(refusals(completeBench(fixture("bench_running")).places.slice(1)).length, 1);
});

test("what has no time yet has no bar", () => {
  const [first, second] = completeBench(fixture("bench_running")).places;
  assert.equal(bars(first).length, 6);
  assert.deepEqual(bars(second).map((bar) => bar.result.backend), ["host"]);
  assert.deepEqual(bars({ ...second, rows: [] }), []);
});

test("the headline is the answer's first sentence, else what is going on, else what is wrong", () => {
  const cases = [
    [finished, ["Use fa3: 1.94x faster than host in self-attention at 832x1216, 81 frames.", ""]],
    [{ ...finished, answer: "Use fa3: 1.94x faster. Level with fa4. Stopped early." }, ["Use fa3: 1.94x faster.", "Level with fa4. Stopped early."]],
    [fixture("bench_running"), ["25 frames text cudnn, first call", ""]],
    [{ state: "running" }, ["measuring", ""]],
    [{ ...finished, answer: "" }, ["nothing could be measured", ""]],
    [{ ...finished, answer: "", state: "interrupted" }, ["stopped before anything was measured", ""]],
    [{ ...finished, answer: "", state: "failed", notes: ["this model may add tokens", "the card is gone"] }, ["the card is gone", ""]],
    [{ state: "failed", notes: ["width 100, needs a multiple of 16"] }, ["width 100, needs a multiple of 16", ""]],
    [null, ["queue the workflow to measure", ""]],
  ];
  for (const [given, wanted] of cases) assert.deepEqual(benchHeadline(completeBench(given)), wanted);
});

test("in English a place is called as the server calls it", () => {
  for (const place of [...finished.places, { ...longest, title: "text 320 x 512 tokens, 1 frame", part: "text", q_len: 320, kv_len: 512, frames: 1 }])
    assert.equal(titleOf(place), place.title);
  assert.equal(titleOf({ ...longest, q_len: null, title: "self" }), "self");
});

test("what a backend gains is in the user's language, and as the server said it where the page does not know the words", () => {
  const said = ["baseline", "1.94x faster", "2.59x slower", "same within 1.2 %", "0.50x, measured once", "twice as fast"];
  assert.deepEqual(said.map((verdict) => verdictOf({ verdict })), said);
  speak({ "{0}x slower": "{0} fois plus lent", "same within {0}": "pareil, à {0} près" });
  assert.deepEqual(["2.59x slower", "same within 1.2 %"].map((verdict) => verdictOf({ verdict })), ["2.59 fois plus lent", "pareil, à 1.2 % près"]);
  speak({});
});

test("no word of the page's own stays English in another language", () => {
  const shouted = JSON.parse(readFileSync(new URL("../../locales/en/main.json", import.meta.url), "utf8")).wanattn;
  const running = completeBench(fixture("bench_running"));
  speak(Object.fromEntries(Object.keys(shouted).map((key) => [key, key.toUpperCase()])));
  const told = [finished, running].flatMap((bench) => [
    measuredSoFar(bench),
    ...bench.places.flatMap((place) => [titleOf(place), ...place.rows.flatMap((row) => [verdictOf(row), ...factsOf({ ...row, reason: "" })])]),
    ...refusals(bench.places.map((place) => ({ ...place, rows: place.rows.map((row) => ({ ...row, reason: row.reason && "5" })) }))),
  ]);
  told.push(benchHeadline(completeBench({ ...finished, answer: "" }))[0], benchHeadline(completeBench({ ...finished, answer: "", state: "interrupted" }))[0]);
  speak({});
  const names = new Set(["self", "text", "x", "s", ...finished.places.flatMap((place) => place.rows.flatMap((row) => [backendName(row.backend), backendName(row.active)]))]);
  const small = told.flatMap((text) => text.match(/(?<![\d.])[a-z][\w-]*/g) ?? []).filter((name) => !names.has(name));
  assert.deepEqual(small, []);
});

test("rows with a time are counted", () => {
  assert.equal(measuredSoFar(finished), "24 of 28 rows measured");
  assert.equal(measuredSoFar(completeBench(null)), "");
});

test("whatever a payload holds, its sentences stay one line of bounded text", () => {
  const hostile = completeBench(fixture("bench_hostile"));
  const told = [...benchHeadline(hostile), ...refusals(hostile.places), ...hostile.places.flatMap((place) => bars(place).flatMap((bar) => bar.facts))];
  for (const text of told) assert.ok(!/[\u0000-\u001f\u202a-\u202e]/.test(text) && text.length < 1000, text);
});
