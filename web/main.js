// @ts-check
// @ts-ignore served by ComfyUI
import { app } from "../../scripts/app.js";
// @ts-ignore served by ComfyUI
import { api } from "../../scripts/api.js";
import { createEditor } from "./edit.js";
import { nodeAt, nodesIn } from "./graph.js";
import { createKept } from "./kept.js";
import { createPanel } from "./report/panel.js";
import { SCHEMA } from "./report/payload.js";
import { speak, word } from "./report/words.js";
import { createRuns, toldBy } from "./runs.js";
import { createStore } from "./store.js";
import { createBench } from "./views/bench.js";
import { ADD, ADD_ALL, LABELS, REMOVE, commandsOf } from "./views/commands.js";
import { failureIn, reportsOf } from "./views/failure.js";
import { idleOf } from "./views/idle.js";
import { createLine } from "./views/line.js";
import { markMenus } from "./views/menu.js";
import { sortMistakes } from "./views/mistakes.js";
import { chain, hideHostText, mount } from "./views/mount.js";
import { createOverview, entriesOf } from "./views/overview.js";
import { createReport } from "./views/report.js";
import { openPage, saveHtml } from "./views/saving.js";
import { COLOUR, EVIDENCE, FOLDER, KEPT, PANEL, SETTINGS, applyDefaults } from "./views/settings.js";
import { MODELS } from "./trace.js";
import { graphsOf } from "./workflow.js";

const EVENTS = ["wanattn.update", "wanattn.bench"];
const BACKEND = "WanAttnBackend";
const DIAGNOSTICS = "WanAttnDiagnostics";
const REPORT = "WanAttnReport";
const BENCHMARK = "WanAttnBenchmark";
const WRAPPED = { backend: "WanAttnWrapperBackend", diagnostics: "WanAttnWrapperDiagnostics" }; // of WanVideoWrapper
const RANKED = "WanAttnRayBackend"; // of Raylight, whose actors tell nothing while they run
const RANKS = "WanAttnRayReport"; // a panel that comes when the run is over
const TOLD = new Set([BACKEND, DIAGNOSTICS, WRAPPED.backend, WRAPPED.diagnostics, RANKS]); // those whose panel says what the host's text does
const BYPASSED = 4;
const LOOK_EVERY = 300; // milliseconds; the host has no event for a prompt that it refused
const HISTORY = "/history?max_items=16";
/** @type {Record<string, {least: number, width?: number, height?: number}>} */
const SIZES = {
  [DIAGNOSTICS]: { width: 600, height: 600, least: 232 },
  [WRAPPED.diagnostics]: { width: 600, height: 600, least: 232 },
  [BENCHMARK]: { width: 600, height: 640, least: 232 },
  [RANKS]: { width: 600, height: 600, least: 232 },
  [BACKEND]: { width: 320, least: 152 }, // eight lines: what it will do and what is here
  [WRAPPED.backend]: { width: 320, least: 152 },
  [RANKED]: { width: 320, least: 76 },
  [REPORT]: { width: 480, height: 360, least: 132 },
};

/** @typedef {{element: HTMLElement, update: (payload: any) => void, describe?: (told: any) => void, dispose: () => void}} View */
/** @type {WeakMap<object, View>} */
const views = new WeakMap();
/** @type {Set<ReturnType<typeof createOverview>>} */
const overviews = new Set();
/** @type {import("./views/idle.js").Possible} */
let possible = { here: {}, lacking: {} };

const rootGraph = () => app.rootGraph ?? app.graph;
const graphId = () => String(rootGraph()?.id ?? "");
const setting = (/** @type {string} */ id) => app.extensionManager.setting.get(id);
/** @param {any} node */
const graphOf = (node) => (node.graph === rootGraph() ? "" : String(node.graph?.id ?? ""));

const kept = createKept({
  async read(name) {
    const answer = await api.getUserData(name);
    return answer.ok ? answer.json() : null;
  },
  write: (name, data) => api.storeUserData(name, data, { overwrite: true, stringify: true, throwOnError: false }),
  known: () => setting(KEPT) ?? [],
  note: (ids) => app.extensionManager.setting.set(KEPT, ids),
});
const runs = createRuns(createStore(() => sessionStorage), kept, {
  id: graphId,
  root: rootGraph,
  watched: (node) => views.has(node),
  history: async () => (await api.fetchApi(HISTORY)).json(),
});

function keep() {
  runs.keep().catch((/** @type {unknown} */ error) => console.warn("wanattn: the last run was not kept", error));
}

/** @param {any} payload */
function receive(payload) {
  if (payload?.schema !== SCHEMA) return;
  const expected = payload.state === "idle"; // a run that is known says more than one that is expected
  if (expected && runs.of(String(payload.node))) return;
  if (!expected) runs.remember(payload);
  const node = /** @type {any} */ (nodeAt(rootGraph(), payload.node));
  for (const overview of overviews) overview.update(String(payload.node), payload);
  const view = node && views.get(node);
  if (!view || node.mode === BYPASSED) return;
  view.update(node.comfyClass === REPORT ? { payload } : payload);
  hideText(node);
}

/** Shows what a node put out or kept: payloads, each for the node it names, and a report's own. @param {any} told */
function take(told) {
  if (told.schema === SCHEMA) return receive(told);
  const node = /** @type {any} */ (nodeAt(rootGraph(), told.node));
  if (node?.comfyClass !== REPORT) return; // a benchmark's words are in its payload
  runs.remember(told);
  views.get(node)?.update(told);
}

/** @param {any} node @returns {string} its execution id */
function idOf(node) {
  const [id] = [...nodesIn(rootGraph())].find(([, each]) => each === node) ?? [String(node.id)];
  return id;
}

/** A run that ended early: why, on every node that watched it, and a report's text from what there is. @param {any} error */
function failed(error) {
  const failure = failureIn(error ?? {});
  for (const [id, node] of nodesIn(rootGraph())) {
    const payload = runs.of(id);
    if (payload?.schema !== SCHEMA || !["running", "failed"].includes(payload.state)) continue;
    const ended = { ...payload, state: "failed", failure: payload.failure ?? failure };
    receive(ended);
    for (const report of reportsOf(node)) views.get(report)?.update({ payload: ended });
  }
  keep();
}

/** @param {any} node */
function hideText(node) {
  if (TOLD.has(node?.comfyClass) && views.has(node)) hideHostText(node);
}

/** Shows again what is known of each node, after a reload or when a workflow comes back. */
function restore() {
  for (const [id, node] of nodesIn(rootGraph())) {
    const view = views.get(node);
    const payload = view && runs.of(id);
    if (payload) view.update(payload);
  }
  describe(rootGraph().serialize());
  runs.unseen().then((found) => found.forEach(take)).catch((/** @type {unknown} */ error) => console.warn("wanattn: no earlier run was found", error));
}

/** Tells every node that has not run what its workflow lets it expect. @param {any} workflow as saved */
function describe(workflow) {
  const graphs = graphsOf(workflow);
  for (const [id, node] of nodesIn(rootGraph())) {
    const view = views.get(node);
    const saved = view?.describe && graphs.get(graphOf(node))?.node(node.id);
    if (!view || !saved) continue;
    view.describe?.(idleOf(graphs, graphOf(node), saved, possible));
    showMode(view, id, /** @type {any} */ (node).mode === BYPASSED);
  }
  for (const overview of overviews) overview.refresh();
}

/** @type {WeakSet<View>} */
const bypassed = new WeakSet();

/** A bypassed node says so in place of its last run. @param {View} view @param {string} id @param {boolean} now */
function showMode(view, id, now) {
  if (now === bypassed.has(view)) return;
  if (now) bypassed.add(view);
  else bypassed.delete(view);
  view.update(now ? { state: "bypassed" } : runs.of(id));
}

/** What the overview shows: backends first, in the order of the graph. */
function entries() {
  const graphs = graphsOf(rootGraph().serialize());
  return entriesOf(rootGraph(), [["line", BACKEND], ["line", WRAPPED.backend], ["line", RANKED], ["panel", DIAGNOSTICS], ["panel", WRAPPED.diagnostics], ["panel", RANKS]], (id, node) => {
    const saved = graphs.get(graphOf(node))?.node(node.id);
    return {
      payload: node.mode === BYPASSED ? { state: "bypassed" } : runs.of(id),
      idle: saved && idleOf(graphs, graphOf(node), saved, possible),
    };
  });
}

/** Opens the graph of a node and brings it into view. @param {string} id */
function show(id) {
  const node = /** @type {any} */ (nodeAt(rootGraph(), id));
  if (!node) return;
  if (app.canvas.graph !== node.graph) app.canvas.openSubgraph?.(node.graph, nodeAt(rootGraph(), id.split(":").slice(0, -1).join(":")));
  if (app.canvas.graph !== node.graph) app.canvas.setGraph(node.graph);
  requestAnimationFrame(() => {
    app.canvas.centerOnNode(node);
    app.canvas.selectNode?.(node, false);
  });
}

/** @param {HTMLElement} place */
function openOverview(place) {
  const overview = createOverview({ entries, show, saveHtml, add: () => void commands[ADD_ALL]() });
  overviews.add(overview);
  place.style.height = "100%";
  place.replaceChildren(overview.element);
}

function closeOverviews() {
  for (const overview of overviews) overview.dispose();
  overviews.clear();
}

/** Where the server gives a file of its output folder, or of another. @param {string} file */
function address(file, type = "output") {
  const [, subfolder = "", filename = file] = file.match(/^(.*)\/([^/]*)$/) ?? [];
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

const { edit, beforeLoad, afterLoad } = createEditor({ page: () => app.extensionManager, root: rootGraph });
/** @type {Record<string, (...values: any[]) => Promise<void>>} */
const commands = commandsOf({ edit, wishes: () => ({ evidence: setting(EVIDENCE), folder: setting(FOLDER), known: (type) => type in registered() }) });
const COMMANDS = [ADD, ADD_ALL, REMOVE];

/** @type {unknown} */
let seenMistakes = null;

function lookForMistakes() {
  const mistakes = app.extensionManager.lastNodeErrors ?? app.lastNodeErrors;
  if (mistakes === seenMistakes) return;
  seenMistakes = mistakes;
  if (mistakes && sortMistakes(mistakes)) app.canvas?.setDirty(true, true);
}

/** The types of node that the page knows. @returns {Record<string, unknown>} */
const registered = () => /** @type {any} */ (window).LiteGraph.registered_node_types;

/** @param {any} node */
function takesPart(node) {
  return [...(node.inputs ?? []), ...(node.outputs ?? [])].some(({ type }) => MODELS.includes(type));
}

/** @type {Record<string, () => View>} */
const MAKERS = {
  [DIAGNOSTICS]: () => createPanel({ saveHtml, colour: setting(COLOUR) }),
  [WRAPPED.diagnostics]: () => createPanel({ saveHtml, colour: setting(COLOUR) }),
  [RANKS]: () => createPanel({ saveHtml, colour: setting(COLOUR) }),
  [BACKEND]: createLine,
  [WRAPPED.backend]: createLine,
  [RANKED]: createLine,
  [BENCHMARK]: createBench,
  [REPORT]: () => createReport({ address, open: openPage }),
};

app.registerExtension({
  name: "wanattn.panel",
  settings: SETTINGS,
  commands: COMMANDS.map((id) => ({ id, label: LABELS[id], icon: "pi pi-bolt", function: commands[id] })),
  keybindings: [{ combo: { key: "w", shift: true }, commandId: ADD_ALL }],
  menuCommands: [{ path: ["Wan Attention"], commands: COMMANDS }],
  bottomPanelTabs: [{ id: "wanattn.bottom", title: "Wan Attention", type: "custom", render: openOverview, destroy: closeOverviews }],
  getCanvasMenuItems: () => [null, ...COMMANDS.map((id) => ({ content: word(LABELS[id]), callback: () => void commands[id]() }))],
  /** @param {any} node */
  getNodeMenuItems(node) {
    const from = { graph: graphOf(node), node: node.id };
    return takesPart(node) ? [{ content: word("Add Wan Attention to this model"), callback: () => void commands.addTo(from) }] : [];
  },
  async init() {
    const all = await (await api.fetchApi("/i18n")).json();
    speak(all[setting("Comfy.Locale") ?? "en"]?.wanattn ?? {});
  },
  setup() {
    for (const name of EVENTS) api.addEventListener(name, (/** @type {CustomEvent} */ event) => receive(event.detail));
    api.addEventListener("progress_text", (/** @type {CustomEvent} */ event) => setTimeout(() => hideText(nodeAt(rootGraph(), event.detail?.nodeId))));
    api.addEventListener("execution_error", (/** @type {CustomEvent} */ event) => failed(event.detail));
    api.addEventListener("execution_success", keep);
    api.addEventListener("graphChanged", (/** @type {CustomEvent} */ event) => describe(event.detail));
    setInterval(lookForMistakes, LOOK_EVERY);
    window.addEventListener("pagehide", () => runs.save());
    app.extensionManager.registerSidebarTab({
      id: "wanattn", icon: "pi pi-bolt", title: "Attention", tooltip: "Wan Attention: what every model of this workflow runs",
      type: "custom", render: openOverview, destroy: closeOverviews,
    });
  },
  /** @param {any} type @param {any} data */
  beforeRegisterNodeDef(type, data) {
    const told = data.name === BACKEND && data.input?.required?.backend?.[1]?.wanattn;
    if (told) possible = told;
  },
  /** @param {any} node */
  nodeCreated(node) {
    if (!(node.comfyClass in MAKERS)) {
      markMenus(node, possible);
      return;
    }
    applyDefaults(node, setting);
    markMenus(node, possible);
    if ([DIAGNOSTICS, WRAPPED.diagnostics].includes(node.comfyClass) && setting(PANEL) === false) return;
    const view = MAKERS[node.comfyClass]();
    views.set(node, view);
    mount(node, view.element, SIZES[node.comfyClass], () => app.canvas);
    chain(node, "onRemoved", () => view.dispose());
    chain(node, "onExecuted", (output) => toldBy(idOf(node), output).forEach(take));
  },
  beforeConfigureGraph: beforeLoad,
  afterConfigureGraph() {
    afterLoad();
    restore();
  },
});
