import assert from "node:assert/strict";
import test from "node:test";

import * as format from "../../web/report/format.js";
import { complete } from "../../web/report/payload.js";
import { fixture } from "./fixtures.js";

const payload = (changes) => complete({ schema: 1, ...changes });

test("plain text keeps no control or direction characters and isolates right-to-left", () => {
  const cases = [
    [null, ""],
    [12, "12"],
    ["a\nb\u0000c", "a b c"],
    ["\u202eevil", "evil"],
    ["שלום", "\u2068שלום\u2069"],
    ["<b>", "<b>"],
    ["x".repeat(5000), `${"x".repeat(400)}…`],
  ];
  for (const [given, wanted] of cases) assert.equal(format.plain(given), wanted);
});

test("a cut never splits a character", () => {
  assert.equal(format.label("😀".repeat(100)), `${"😀".repeat(60)}…`);
});

test("figures keep three that mean something", () => {
  const cases = [[null, "–"], [NaN, "–"], [0, "0"], [0.61234, "0.612"], [38.64, "38.6"], [99.96, "100"], [912.4, "912"], [32760, "32,760"]];
  for (const [given, wanted] of cases) assert.equal(format.figure(given), wanted);
});

test("a share is never rounded to nothing or to everything", () => {
  const cases = [[0, 10, "0 %"], [1, 1000, "<1 %"], [999, 1000, ">99 %"], [1000, 1000, "100 %"], [79, 100, "79 %"], [1, 0, "–"]];
  for (const [part, whole, wanted] of cases) assert.equal(format.percent(part, whole), wanted.replace(" %", "\u00a0%"));
});

test("the headline says requested and active with shares", () => {
  assert.equal(format.headline(complete(fixture("expert"))), "auto → flash 50\u00a0%, cuDNN 50\u00a0%, math <1\u00a0%");
  assert.equal(format.headline(complete(fixture("small"))), "cuDNN → flash 100\u00a0%");
});

test("the headline of many backends names four", () => {
  const totals = { a: 5, b: 4, c: 3, d: 2, e: 1, f: 1 };
  assert.match(format.headline(payload({ requested: "host", totals, calls: 16 })), /^host → a .*, b .*, c .*, d .* and 2 more$/);
});

test("before the first call the headline says so", () => {
  assert.equal(format.headline(payload({})), "no attention call yet");
  assert.equal(format.headline(payload({ state: "running" })), "waiting for the first attention call");
});

test("names that objects inherit are names like any other", () => {
  for (const name of ["constructor", "__proto__", "toString"]) assert.equal(format.backendName(name), name);
});

test("a fallback of auto fell back, any other asked for something else", () => {
  const fallback = { active: "math", reason: "out of memory", calls: 1 };
  assert.equal(format.fallbackSentence({ ...fallback, requested: "auto" }, 800), "1 of 800 calls fell back to math: out of memory");
  assert.equal(format.fallbackSentence({ ...fallback, requested: "cudnn" }, 1), "1 of 1 call asked for cuDNN and ran math: out of memory");
});

test("progress counts steps of a run under way and of a finished one", () => {
  assert.equal(format.progress(complete(fixture("running"))), "step 3 of 0–9 · 640 calls · 20.6 s");
  assert.equal(format.progress(complete(fixture("small"))), "2 steps · 16 calls · 0.78 s · node 12:7");
  assert.equal(format.progress(payload({})), "");
});

test("every state has a sign and a word, an unknown one too", () => {
  for (const state of ["running", "finished", "interrupted", "failed", "idle", "reloaded", "paused"]) {
    const { sign, word } = format.state(payload({ state }));
    assert.ok(sign && word, state);
  }
});

test("what the profiler contradicts is counted in words", () => {
  const wanted = "in 3 of 40 calls the profiler saw another backend than the one that was forced";
  assert.equal(format.contradiction(complete(fixture("lying"))), wanted);
  assert.equal(format.contradiction(complete(fixture("expert"))), "");
});

test("a kind names keys, dtype and mask where they matter", () => {
  const row = { q_len: 320, kv_len: 512, dtype: "torch.bfloat16", mask: "bool" };
  assert.equal(format.kind(row), "512 keys, bf16, bool mask");
  assert.equal(format.kind({ ...row, kv_len: 320, mask: "none", dtype: "float8_e4m3fn" }), "float8_e4m3fn");
});

test("the environment leaves out what a machine lacks", () => {
  assert.equal(format.environmentLine(complete(fixture("small"))), "torch 2.11.0 · wanattn 0.1.0 · Python 3.11.2 · Windows AMD64");
});

test("the steps are summed up by median and longest", () => {
  assert.equal(format.stepsSentence([1, 4, 2]), "median 2 s, longest 4 s at step 1");
  assert.equal(format.stepsSentence([3, 1]), "median 2 s, longest 3 s at step 0");
  assert.equal(format.stepsSentence([]), "no step yet");
});

test("inside the first forward the calls know better than the clock", () => {
  const first = complete(fixture("first_forward"));
  assert.equal(format.progress(first), "step 0 of 0–3 · 12 calls · 0.463 s");
  assert.equal(format.stepsSentence([0], "step {0} under way"), "step 0 under way");
  assert.equal(format.stepsSentence([1, 4, 0.1], "step {0} under way"), "step 2 under way · median 2.5 s, longest 4 s at step 1");
});

test("a failure says where and why, and what to change", () => {
  assert.deepEqual(format.failureOf(complete(fixture("failed"))), {
    told: "stopped at step 2, block 0: cuDNN does not exist on cpu",
    advice: "Set on_refusal to 'next best', or choose another backend.",
  });
  assert.deepEqual(format.failureOf(complete({ failure: { sentence: "out of memory" } })), { told: "stopped: out of memory", advice: "" });
  assert.deepEqual(format.failureOf(complete({})), { told: "", advice: "" });
});

test("a gain is told where it was measured, and only then", () => {
  assert.equal(format.gainSentence(complete(fixture("shared"))), "attention 1.70x, whole run 1.50x as fast as ComfyUI's default, measured at the first call");
  assert.equal(format.gainSentence(complete({ gain: { attention: null, run: null, against: "x", how: "" } })), "");
  assert.equal(format.gainSentence(complete({})), "");
});
