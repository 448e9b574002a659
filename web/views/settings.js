// @ts-check
export const PANEL = "wanattn.Panel.Shown";
export const EVIDENCE = "wanattn.Panel.Evidence";
export const FOLDER = "wanattn.Report.Folder";
export const COLOUR = "wanattn.Panel.Colour";
export const KEPT = "wanattn.Kept";

/** The pack's own section in the host's settings. */
export const SETTINGS = [
  {
    id: PANEL, name: "Show the panel on Attention Diagnostics", type: "boolean", defaultValue: true,
    category: ["Wan Attention", "Panel", "Shown"],
    tooltip: "Off: the node shows one line of text; the sidebar still has the panel. Counts for nodes added or loaded from now on.",
  },
  {
    id: EVIDENCE, name: "Evidence of a new Attention Diagnostics", type: "combo", defaultValue: "sample",
    options: ["off", "sample", "every call"], category: ["Wan Attention", "Panel", "Evidence"],
    tooltip: "How much is proved by the profiler: nothing, one call of each kind, or all of them, which is slower.",
  },
  {
    id: COLOUR, name: "What the colours of the cells stand for at first", type: "combo", defaultValue: "backend",
    options: ["backend", "time", "tflops"], category: ["Wan Attention", "Panel", "Colour"],
    tooltip: "The backend that ran, the milliseconds of the call, or its TFLOP/s. The panel itself switches between them.",
  },
  {
    id: FOLDER, name: "Folder of a new report", type: "text", defaultValue: "wanattn", category: ["Wan Attention", "Report", "Folder"],
    tooltip: "Inside ComfyUI's output folder.",
  },
  { id: KEPT, name: "Workflows with a kept run", type: "hidden", defaultValue: [] },
];

/** What the user chose, on a new node; a saved one brings its own. @param {any} node @param {(id: string) => any} setting */
export function applyDefaults(node, setting) {
  /** @type {Record<string, [string, any]>} */
  const defaults = {
    WanAttnDiagnostics: ["evidence", setting(EVIDENCE)],
    WanAttnWrapperDiagnostics: ["evidence", setting(EVIDENCE)],
    WanAttnReport: ["filename_prefix", setting(FOLDER) && `${setting(FOLDER)}/report`],
  };
  const [name, value] = defaults[node.comfyClass] ?? [];
  const widget = value && node.widgets?.find((/** @type {any} */ each) => each.name === name);
  if (widget) widget.value = value;
}
