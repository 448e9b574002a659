import assert from "node:assert/strict";
import test from "node:test";

import { escaped, toMarkdown } from "../../web/report/markdown.js";
import { complete } from "../../web/report/payload.js";
import { fixture } from "./fixtures.js";

test("the report as Markdown has headline, warning, table and machine", () => {
  const text = toMarkdown(complete(fixture("expert")));
  assert.match(text, /^\*\*auto → flash/);
  assert.match(text, /\n- ⚠ 1 of 1,600 calls fell back to math: cudnn: OutOfMemoryError/);
  assert.match(text, /\n\| self \| 1×40×32,760×128 \| bf16 \| 799 \| auto \| cuDNN \| forced, profiled \| 38\.6 \| 569 \| 60\u00a0% \|  \|\n/);
  assert.match(text, /\| cudnn: OutOfMemoryError: CUDA out of memory, needs 2.1 GiB \|\n/);
  assert.match(text, /peak 29\.4 GiB · NVIDIA H100/);
});

test("markup of Markdown and HTML is escaped", () => {
  assert.equal(escaped("<b> a|b `c` [d](e) _f_ *g*"), "\\<b\\> a\\|b \\`c\\` \\[d\\](e) \\_f\\_ \\*g\\*");
});

test("hostile text adds no column, no line and no tag to the table", () => {
  const payload = complete(fixture("hostile"));
  const lines = toMarkdown(payload).split("\n");
  const table = lines.filter((line) => line.startsWith("|"));
  assert.equal(table.length, payload.rows.length + 2);
  for (const line of table) assert.equal(line.replace(/\\./g, "").split("|").length, 13);
  assert.ok(!/(?<!\\)<[a-z/]/i.test(lines.join("\n")));
});

test("with several devices every row says where it ran, and each device has a line", () => {
  const text = toMarkdown(complete(fixture("two_devices")));
  assert.match(text, /^\| role \| device \| shape/m);
  assert.match(text, /^\| self \| cuda:1 \|/m);
  assert.match(text, /^- cuda:1: 80.calls, 2\.51 s in attention, 351 TFLOP\/s, peak 28\.1 GiB$/m);
  assert.doesNotMatch(toMarkdown(complete(fixture("expert"))), /device|cuda:0/);
});
