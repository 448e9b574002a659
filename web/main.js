// @ts-check
// @ts-ignore served by ComfyUI
import { app } from "../../scripts/app.js";
// @ts-ignore served by ComfyUI
import { api } from "../../scripts/api.js";
import { createBench } from "./views/bench.js";
import { nodeAt, nodesIn } from "./graph.js";
import { ADD, ADD_ALL, LABELS, REMOVE, commandsOf } from "./views/commands.js";
import { createLine } from "./views/line.js";
import { createPanel } from "./report/panel.js";
import { SCHEMA } from "./report/payload.js";
import { MODULES, compose } from "./standalone.js";
import { createStore } from "./store.js";
import { createText } from "./views/text.js";

const EVENTS = ["wanattn.update", "wanattn.bench"];
const DIAGNOSTICS = "WanAttnDiagnostics";
const REPORT = "WanAttnReport";
const TEXT_WIDGET = "$$node-text-preview";
const PANEL = { width: 600, height: 930, least: 232 };
const BENCH = { width: 600, height: 640, least: 232 };
const LINE = { least: 36 };
const TEXT = { width: 480, height: 360, least: 132 };

const store = createStore(() => sessionStorage);
/** @typedef {{element: HTMLElement, update: (payload: any) => void, dispose: () => void}} View */
/** @type {WeakMap<object, View>} */
const views = new WeakMap();

const rootGraph = () => app.rootGraph ?? app.graph;
const graphId = () => String(rootGraph()?.id ?? "");

/** @param {any} payload */
function receive(payload) {
  if (payload?.schema !== SCHEMA) return;
  store.remember(graphId(), payload);
  const node = /** @type {any} */ (nodeAt(rootGraph(), payload.node));
  const view = node && views.get(node);
  if (!view) return;
  view.update(payload);
  if (node.comfyClass === DIAGNOSTICS) hideText(node);
}

/** What a node put out: payloads, each for the node it names, and a report's own text. @param {any} node @param {any} output */
function executed(node, output) {
  output?.wanattn?.forEach(receive);
  if (node.comfyClass !== REPORT || !output?.text) return;
  const [executionId] = [...nodesIn(rootGraph())].find(([, each]) => each === node) ?? [node.id];
  const payload = { node: executionId, text: output.text.join("\n") };
  store.remember(graphId(), payload);
  views.get(node)?.update(payload);
}

/** The host's line of text would take half of the node to say what the panel says. @param {any} node */
function hideText(node) {
  const widget = node.widgets?.find((/** @type {any} */ each) => each.name === TEXT_WIDGET);
  if (!widget || widget.hidden) return;
  widget.hidden = true;
  widget.options.hidden = true;
}

/** Shows again what is known of each node, after a reload or when a workflow comes back. */
function restore() {
  for (const [executionId, node] of nodesIn(rootGraph())) {
    const view = views.get(node);
    const payload = view && store.recall(graphId(), executionId);
    if (payload) view.update(payload);
  }
}

/** @param {any} node @param {View} view @param {{least: number, width?: number, height?: number}} size */
function attach(node, view, { least, width = 0, height = 0 }) {
  views.set(node, view);
  const options = { serialize: false, hideOnZoom: false, margin: 6, getMinHeight: () => least, getValue: () => "", setValue: () => {} };
  const widget = node.addDOMWidget("wanattn", "wanattn_panel", view.element, options);
  widget.serialize = false;
  chain(node, "onRemoved", () => view.dispose());
  letCanvasHave(view.element);
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

/** @param {any} node @param {string} event @param {(...values: any[]) => void} listener */
function chain(node, event, listener) {
  const previous = node[event];
  node[event] = (/** @type {any[]} */ ...values) => {
    listener(...values);
    return previous?.apply(node, values);
  };
}

/** Panning and zooming go on working over the panel. @param {HTMLElement} element */
function letCanvasHave(element) {
  element.tabIndex = 0; // with the focus inside, the host leaves the wheel to the panel
  element.dataset.captureWheel = "true";
  element.addEventListener("wheel", (event) => {
    const scrolls = !event.ctrlKey && element.scrollHeight > element.clientHeight;
    if (scrolls) return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
    app.canvas?.processMouseWheel?.(event);
  }, { passive: false });
  for (const [type, method] of [["pointerdown", "processMouseDown"], ["pointermove", "processMouseMove"], ["pointerup", "processMouseUp"]]) {
    element.addEventListener(type, (event) => {
      const pointer = /** @type {PointerEvent} */ (event);
      if (pointer.button === 1 || pointer.buttons & 4) app.canvas?.[method]?.(pointer);
    });
  }
}

/** @param {any} payload */
async function saveHtml(payload) {
  const template = await ownFile("report.html");
  const texts = await Promise.all(MODULES.map(async (name) => [name, await ownFile(`report/${name}`)]));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([compose(template, Object.fromEntries(texts), payload)], { type: "text/html" }));
  link.download = `attention_report_${String(payload.node ?? "").replace(/\W+/g, "_")}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A file of this folder, as the page itself was loaded. @param {string} name */
async function ownFile(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`the server did not give ${name}`);
  return answer.text();
}

/** Changes the workflow in one step of undo: by the host's own way of going from one state to the next.
 * @param {(workflow: any) => import("./views/commands.js").Told | null} change */
async function edit(change) {
  const tracker = app.extensionManager.workflow.activeWorkflow?.changeTracker;
  if (!tracker) return;
  if (tracker.captureCanvasState) tracker.captureCanvasState();
  else tracker.checkState();
  const before = JSON.stringify(tracker.activeState);
  const workflow = JSON.parse(before);
  const told = change(workflow);
  if (JSON.stringify(workflow) !== before) {
    tracker.redoQueue.splice(0, Infinity, workflow);
    await tracker.redo();
    // What the host makes of it, such as sizes, belongs to the same step.
    tracker.activeState = JSON.parse(JSON.stringify(rootGraph().serialize()));
  }
  if (told) app.extensionManager.toast.add({ severity: told.severity, summary: "Wan Attention", detail: told.text, life: 6000 });
}

const commands = commandsOf({ edit, wishes: () => ({}) });

/** @param {any} node */
function takesPart(node) {
  return [...(node.inputs ?? []), ...(node.outputs ?? [])].some(({ type }) => type === "MODEL");
}

app.registerExtension({
  name: "wanattn.panel",
  commands: [ADD, ADD_ALL, REMOVE].map((id) => ({ id, label: LABELS[id], icon: "pi pi-bolt", function: commands[id] })),
  keybindings: [{ combo: { key: "w", shift: true }, commandId: ADD_ALL }],
  menuCommands: [{ path: ["Wan Attention"], commands: [ADD, ADD_ALL, REMOVE] }],
  getCanvasMenuItems: () => [null, ...[ADD, ADD_ALL, REMOVE].map((id) => ({ content: LABELS[id], callback: () => void commands[id]() }))],
  /** @param {any} node */
  getNodeMenuItems(node) {
    const from = { graph: node.graph === rootGraph() ? "" : String(node.graph?.id ?? ""), node: node.id };
    return takesPart(node) ? [{ content: "Add Wan Attention to this model", callback: () => void commands.addTo(from) }] : [];
  },
  setup() {
    for (const name of EVENTS) api.addEventListener(name, (/** @type {CustomEvent} */ event) => receive(event.detail));
    window.addEventListener("pagehide", () => store.save());
  },
  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass === DIAGNOSTICS) attach(node, createPanel({ saveHtml }), PANEL);
    if (node.comfyClass === "WanAttnBackend") attach(node, createLine(), LINE);
    if (node.comfyClass === "WanAttnBenchmark") attach(node, createBench(), BENCH);
    if (node.comfyClass === REPORT) attach(node, createText(), TEXT);
    if (views.has(node)) chain(node, "onExecuted", (output) => executed(node, output));
  },
  afterConfigureGraph: restore,
});
