import assert from "node:assert/strict";
import test from "node:test";

import * as cells from "../../web/report/cells.js";
import { moved } from "../../web/report/cursor.js";
import { gridPaths } from "../../web/report/patterns.js";
import { complete, shareOfTime } from "../../web/report/payload.js";
import { fixture } from "./fixtures.js";

const expert = complete(fixture("expert"));
const [own, text] = expert.grid;

test("known backends keep their look, others take turns in order", () => {
  const looks = cells.looks(complete({ totals: { zeta: 1, flash: 1, alpha: 1, beta: 1, gamma: 1 } }));
  assert.deepEqual([...looks], [["zeta", "other0"], ["flash", "flash"], ["alpha", "other0"], ["beta", "other1"], ["gamma", "other2"]]);
});

test("values follow the colour that was chosen", () => {
  assert.equal(cells.valuesOf(own, expert.rows, "time")[5][12], 912);
  const rate = cells.valuesOf(own, expert.rows, "tflops")[5][12];
  assert.ok(Math.abs(rate - expert.rows[2].tflops) < 0.01, String(rate));
  assert.equal(cells.valuesOf(fixture("running").grid[0], expert.rows, "time")[9][0], null);
});

test("a scale puts the lowest first, the highest last, and goes by ratio when one value dwarfs the rest", () => {
  const scale = cells.scaleOf([[1, 10, null], [100, 1000]]);
  assert.deepEqual([1, 10, 100, 1000].map(scale.level), [0, 2, 4, cells.LEVELS - 1]);
  assert.ok(scale.logarithmic);
  assert.ok(!cells.scaleOf([[4, 5, 6]]).logarithmic);
  assert.equal(cells.scaleOf([[7, 7]]).level(7), 0);
  assert.equal(cells.scaleOf([[null, null]]), null);
});

test("the grid in words joins equal steps and equal blocks", () => {
  assert.deepEqual(cells.gridLines(own, expert.rows), [
    "steps 0–4: blocks 0–39 cuDNN",
    "step 5: blocks 0–11 cuDNN, block 12 math, blocks 13–39 cuDNN",
    "steps 6–9: blocks 0–39 cuDNN",
  ]);
  const running = fixture("running");
  assert.deepEqual(cells.gridLines(running.grid[1], running.rows), ["steps 0–3: blocks 0–39 flash", "steps 4–9: blocks 0–39 no call"]);
});

test("a grid has one sentence for who cannot see it", () => {
  assert.equal(cells.gridSentence(own, expert.rows), "self attention, 40 blocks by 10 steps: cuDNN in 399, math in 1");
});

test("a cell tells place, request, backend, time, shape, evidence and reason", () => {
  const told = cells.cellFacts(expert, own, 5, 12).map((fact) => fact.text);
  assert.deepEqual(told, [
    "self, step 5, block 12", "⚠ auto → math", "912 ms, 24.1 TFLOP/s", "1×40×32,760×128, bf16", "forced",
    "cudnn: OutOfMemoryError: CUDA out of memory, needs 2.1 GiB",
  ]);
  assert.equal(cells.cellFacts(expert, own, 99, 0)[1].text, "no call seen");
});

test("a role's label tells what its calls share", () => {
  assert.equal(cells.gridLabel(own, expert.rows), "40 heads × 128, 32,760 tokens");
  assert.equal(cells.gridLabel(text, expert.rows), "40 heads × 128, 512 keys");
});

test("a share is of the forwards' time, none where nothing was timed", () => {
  const row = expert.rows[0];
  assert.equal(shareOfTime(expert, row), row.milliseconds_total / 1000 / expert.runs[0].seconds);
  assert.equal(shareOfTime(expert, { ...row, milliseconds_total: null }), null);
});

test("keys walk the cells and stop at the edges", () => {
  const size = { steps: 12, blocks: 4 };
  const from = { step: 1, block: 2 };
  const cases = [
    ["ArrowRight", 1, 3], ["ArrowLeft", 1, 1], ["ArrowUp", 0, 2], ["ArrowDown", 2, 2],
    ["Home", 1, 0], ["End", 1, 3], ["PageUp", 0, 2], ["PageDown", 11, 2],
  ];
  for (const [key, step, block] of cases) assert.deepEqual(moved(key, from, size), { step, block }, key);
  assert.deepEqual(moved("ArrowRight", { step: 11, block: 3 }, size), { step: 11, block: 3 });
  assert.equal(moved("a", from, size), null);
});

test("a grid is drawn with a path a look, equal neighbours in one box, marks where there is room", () => {
  const kinds = [["flash", "flash", "cudnn"], ["flash", "", ""]];
  const framed = [[false, false, true], [false, false, false]];
  const paths = gridPaths(kinds, framed, { framed: true, marked: true });
  assert.deepEqual([...paths.keys()].sort(), ["fill cudnn", "fill empty", "fill flash", "frame", "gaps", "mark"]);
  assert.equal(paths.get("fill flash"), "M0 0h20v10h-20zM0 10h10v10h-10z");
  assert.equal(paths.get("fill cudnn"), "M20 0h10v10h-10z");
  assert.equal(paths.get("frame"), paths.get("fill cudnn"));
  assert.equal(paths.get("mark").split("M").length - 1, 3);
  assert.deepEqual([...gridPaths(kinds, framed, { framed: false, marked: false }).keys()].sort(), ["fill cudnn", "fill empty", "fill flash", "gaps"]);
});

test("the largest grid needs no more paths than looks", () => {
  const large = complete(fixture("large"));
  const kinds = large.grid[0].row.map((line) => line.map((index) => large.rows[index].active));
  const paths = gridPaths(kinds, kinds.map((line) => line.map(() => false)), { framed: true, marked: true });
  assert.ok(paths.size <= 7, String(paths.size));
});
