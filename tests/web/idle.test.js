import assert from "node:assert/strict";
import test from "node:test";

import { idleOf, menuLines, needsOf } from "../../web/views/idle.js";
import { menuLabel, menuOrder } from "../../web/views/menu.js";
import { graphsOf } from "../../web/workflow.js";

const possible = { here: { flash: "FlashAttention", math: "math" }, lacking: { cudnn: "cuDNN does not exist on cpu", efficient: "mem-efficient does not exist on cpu", sage: "sageattention not installed: pip install sageattention" } };
const slot = (name, type, link = null, widget = false) => ({ name, type, link, ...(widget ? { widget: { name } } : {}) });
const out = (name, type, ...links) => ({ name, type, links });

/** Loader, backend, panel, sampler, and a latent whose width is wired. */
const workflow = (file, backend = "auto", refusal = "next best") => ({
  nodes: [
    { id: 1, type: "UNETLoader", inputs: [], outputs: [out("MODEL", "MODEL", 1)], widgets_values: [file, "default"] },
    { id: 2, type: "WanAttnBackend", inputs: [slot("model", "MODEL", 1)], outputs: [out("MODEL", "MODEL", 2)], widgets_values: [backend, refusal] },
    { id: 3, type: "WanAttnDiagnostics", inputs: [slot("model", "MODEL", 2)], outputs: [out("MODEL", "MODEL", 3)], widgets_values: ["sample"] },
    { id: 4, type: "KSampler", inputs: [slot("model", "MODEL", 3), slot("latent_image", "LATENT", 4)], outputs: [out("LATENT", "LATENT")] },
    { id: 5, type: "EmptyHunyuanLatentVideo", inputs: [slot("width", "INT", 5, true), slot("height", "INT", null, true), slot("length", "INT", null, true)], outputs: [out("LATENT", "LATENT", 4)], widgets_values: [16, 480, 81, 1] },
    { id: 6, type: "PrimitiveInt", inputs: [], outputs: [out("INT", "INT", 5)], widgets_values: [832, "fixed"] },
  ],
  links: [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"], [3, 3, 0, 4, 0, "MODEL"], [4, 5, 0, 4, 1, "LATENT"], [5, 6, 0, 5, 0, "INT"]],
});
const idle = (node, ...given) => {
  const graphs = graphsOf(workflow(...given));
  return idleOf(graphs, "", graphs.get("").node(node), possible);
};

test("the calls to come are told by the file's name and the wired size", () => {
  assert.deepEqual(idle(3, "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors").forecast, [
    { role: "self", heads: 40, q_len: 32760, kv_len: 32760, math_gib: (40 * 32760 * 32760 * 2) / 2 ** 30 },
    { role: "text", heads: 40, q_len: 32760, kv_len: 512, math_gib: (40 * 32760 * 512 * 2) / 2 ** 30 },
  ]);
  const [five] = idle(3, "wan2.2_ti2v_5B_fp16.safetensors").forecast;
  assert.deepEqual([five.heads, five.q_len], [24, 21 * 15 * 26]);
  assert.deepEqual(idle(3, "wan2.1_i2v_480p_14B_fp16.safetensors").forecast.map(({ role, kv_len }) => [role, kv_len]).at(-1), ["image", 257]);
  assert.deepEqual(idle(3, "wan2.1_t2v_1.3B_fp16.safetensors").forecast[0].heads, 12);
});

test("what cannot be told is not told", () => {
  assert.deepEqual(idle(3, "flux1-dev.safetensors").forecast, []);
  const loose = workflow("wan2.2_t2v_14B.safetensors");
  loose.links = loose.links.filter(([id]) => id !== 3);
  const graphs = graphsOf(loose);
  assert.match(idleOf(graphs, "", graphs.get("").node(3), possible).plan, /Wire its output to a sampler/);
});

test("a backend that runs here is what each call will get, one that does not is left open", () => {
  assert.equal(idle(3, "wan_14B.safetensors", "flash").forecast[0].active, "flash");
  assert.equal(idle(3, "wan_14B.safetensors", "cudnn").forecast[0].active, undefined);
});

test("a backend node says what it will do", () => {
  assert.match(idle(2, "wan.safetensors").plan, /time every kernel/);
  assert.match(idle(2, "wan.safetensors", "host").plan, /change nothing/);
  assert.match(idle(2, "wan.safetensors", "flash", "stop").plan, /on flash; where it cannot, the run stops/);
  assert.match(idle(2, "wan.safetensors", "cudnn").plan, /on cuDNN; .* next best .*Not here: cuDNN does not exist on cpu/);
});

test("a backend of Raylight says what it will do on each GPU and where to look, and so does its report", () => {
  const ranked = (...values) => {
    const graphs = graphsOf({ nodes: [{ id: 1, type: "WanAttnRayBackend", inputs: [], outputs: [], widgets_values: values }, { id: 2, type: "WanAttnRayReport", inputs: [], outputs: [] }], links: [] });
    return [1, 2].map((id) => idleOf(graphs, "", graphs.get("").node(id), possible));
  };
  const [backend, report] = ranked("cudnn", "next best");
  assert.equal(backend.plan, "Will run every attention call on cuDNN, on each GPU; where it cannot, the next best runs and the report says why.");
  assert.match(backend.place, /in Attention Report \(Raylight\)$/);
  assert.deepEqual([backend.lines, report.place], [[], undefined]);
  assert.match(report.plan, /once the sampler is done/);
  assert.match(ranked("host")[0].plan, /Raylight's own attention/);
  assert.match(ranked("flash", "stop")[0].plan, /the run stops/);
});

test("the menu says what is here, what is elsewhere and what to install", () => {
  assert.deepEqual(menuLines(possible), ["here: flash, math", "not on cpu: cuDNN, efficient", "not ready here: sage"]);
  assert.deepEqual(needsOf(possible), ["sage: sageattention not installed: pip install sageattention"]);
  assert.deepEqual(menuOrder(["auto", "flash", "efficient", "cudnn", "math", "host"], possible), ["auto", "flash", "math", "host", "efficient", "cudnn"]);
  assert.equal(menuLabel("cudnn", possible), "cudnn – not here");
  assert.equal(menuLabel("flash", possible), "flash");
});
