// @ts-check
// @ts-ignore served by ComfyUI
import { app } from "../../scripts/app.js";
// @ts-ignore served by ComfyUI
import { api } from "../../scripts/api.js";
import { nodeAt, nodesIn } from "./graph.js";
import { createKept } from "./kept.js";
import { createPanel } from "./report/panel.js";
import { SCHEMA } from "./report/payload.js";
import { speak, word } from "./report/words.js";
import { MODULES, compose } from "./standalone.js";
import { createStore } from "./store.js";
import { createBench } from "./views/bench.js";
import { ADD, ADD_ALL, LABELS, REMOVE, commandsOf } from "./views/commands.js";
import { failureIn } from "./views/failure.js";
import { idleOf, menuLabel, menuOrder } from "./views/idle.js";
import { createLine } from "./views/line.js";
import { sortMistakes } from "./views/mistakes.js";
import { chain, mount } from "./views/mount.js";
import { createOverview } from "./views/overview.js";
import { createReport } from "./views/report.js";
import { COLOUR, EVIDENCE, FOLDER, KEPT, PANEL, SETTINGS } from "./views/settings.js";
import { graphsOf } from "./workflow.js";

const EVENTS = ["wanattn.update", "wanattn.bench"];
const BACKEND = "WanAttnBackend";
const DIAGNOSTICS = "WanAttnDiagnostics";
const REPORT = "WanAttnReport";
const BENCHMARK = "WanAttnBenchmark";
const TEXT_WIDGET = "$$node-text-preview";
const BYPASSED = 4;
const ENDED = new Set(["finished", "interrupted", "failed"]);
const LOOK_EVERY = 300; // milliseconds; the host has no event for a prompt that it refused
const HISTORY = "/history?max_items=16";
/** @type {Record<string, {least: number, width?: number, height?: number}>} */
const SIZES = {
  [DIAGNOSTICS]: { width: 600, height: 600, least: 232 },
  [BENCHMARK]: { width: 600, height: 640, least: 232 },
  [BACKEND]: { width: 320, least: 64 },
  [REPORT]: { width: 480, height: 360, least: 132 },
};

/** @typedef {{element: HTMLElement, update: (payload: any) => void, describe?: (told: any) => void, dispose: () => void}} View */
/** @type {WeakMap<object, View>} */
const views = new WeakMap();
/** @type {Set<ReturnType<typeof createOverview>>} */
const overviews = new Set();
const store = createStore(() => sessionStorage);
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

/** @param {any} payload */
function receive(payload) {
  if (payload?.schema !== SCHEMA) return;
  store.remember(graphId(), payload);
  const node = /** @type {any} */ (nodeAt(rootGraph(), payload.node));
  for (const overview of overviews) overview.update(String(payload.node), payload);
  const view = node && views.get(node);
  if (!view || node.mode === BYPASSED) return;
  view.update(node.comfyClass === REPORT ? { payload } : payload);
  if ([BACKEND, DIAGNOSTICS].includes(node.comfyClass)) hideText(node);
}

/** What a node put out: payloads, each for the node it names, and a report's own. @param {any} node @param {any} output */
function executed(node, output) {
  output?.wanattn?.forEach(receive);
  if (node.comfyClass !== REPORT || !output?.text) return;
  const told = { node: idOf(node), text: output.text.join("\n"), payload: output.wanattn?.[0] ?? null };
  store.remember(graphId(), told);
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
    const payload = store.recall(graphId(), id);
    if (payload?.schema !== SCHEMA || !["running", "failed"].includes(payload.state)) continue;
    receive({ ...payload, state: "failed", failure: payload.failure ?? failure });
    for (const report of reportsOf(node)) views.get(report)?.update({ payload: { ...payload, state: "failed", failure: payload.failure ?? failure } });
  }
  keep();
}

/** The reports whose model is that of a node: in the same graph, behind it. @param {any} node */
function reportsOf(node) {
  const reached = new Set([node]);
  for (const each of reached) {
    for (const output of each.outputs ?? []) {
      for (const id of output.links ?? []) {
        const link = each.graph?.getLink?.(id) ?? each.graph?.links?.get?.(id);
        const next = link && each.graph.getNodeById(link.target_id);
        if (next && next.inputs?.[link.target_slot]?.type === "MODEL") reached.add(next);
      }
    }
  }
  return [...reached].filter((each) => each.comfyClass === REPORT);
}

/** Keeps what ended, for a browser that was not there. */
function keep() {
  const payloads = [...nodesIn(rootGraph())].map(([id]) => store.recall(graphId(), id)).filter((payload) => payload?.text || ENDED.has(payload?.state));
  kept.keep(graphId(), payloads).catch((/** @type {unknown} */ error) => console.warn("wanattn: the last run was not kept", error));
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
  for (const [id, node] of nodesIn(rootGraph())) {
    const view = views.get(node);
    const payload = view && store.recall(graphId(), id);
    if (payload) view.update(payload);
  }
  describe(rootGraph().serialize());
  recallRuns().catch((/** @type {unknown} */ error) => console.warn("wanattn: no earlier run was found", error));
}

/** The last run of this workflow that this browser has not seen, as the host keeps it. */
async function recallRuns() {
  const [id, unseen] = [graphId(), (/** @type {string} */ node) => !store.recall(graphId(), node)];
  if (![...nodesIn(rootGraph())].some(([node, each]) => views.has(each) && unseen(node))) return;
  const found = [...(await kept.recall(id)), ...(await inHistory(id))];
  if (id !== graphId()) return; // another workflow was opened meanwhile
  for (const payload of found.filter(({ node }) => unseen(String(node)))) {
    if (payload.schema === SCHEMA) receive(payload);
    else views.get(/** @type {any} */ (nodeAt(rootGraph(), payload.node)) ?? {})?.update(payload);
  }
}

/** @param {string} id @returns {Promise<any[]>} what reports put out in the runs that the server remembers, newest first */
async function inHistory(id) {
  const runs = Object.values(await (await api.fetchApi(HISTORY)).json()).reverse();
  const own = runs.filter((/** @type {any} */ run) => run.prompt?.[3]?.extra_pnginfo?.workflow?.id === id);
  return own.flatMap((/** @type {any} */ { outputs }) =>
    Object.entries(outputs ?? {}).flatMap(([node, output]) => [
      ...(output.wanattn ?? []),
      ...(output.wanattn && output.text ? [{ node, text: output.text.join("\n"), payload: output.wanattn[0] ?? null }] : []),
    ]),
  );
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
  view.update(now ? { state: "bypassed" } : store.recall(graphId(), id));
}

/** What the overview shows: backends first, in the order of the graph. @returns {import("./views/overview.js").Entry[]} */
function entries() {
  const graphs = graphsOf(rootGraph().serialize());
  const own = [...nodesIn(rootGraph())].filter(([, node]) => [BACKEND, DIAGNOSTICS].includes(/** @type {any} */ (node).comfyClass));
  const kinds = /** @type {const} */ ([["line", BACKEND], ["panel", DIAGNOSTICS]]);
  return kinds.flatMap(([kind, type]) =>
    own.filter(([, node]) => /** @type {any} */ (node).comfyClass === type).map(([id, each]) => {
      const node = /** @type {any} */ (each);
      const saved = graphs.get(graphOf(node))?.node(node.id);
      const payload = node.mode === BYPASSED ? { state: "bypassed" } : store.recall(graphId(), id);
      return { id, kind, title: [...path(id), node.title].join(" › "), payload, idle: saved && idleOf(graphs, graphOf(node), saved, possible) };
    }),
  );
}

/** The titles of the subgraphs around a node. @param {string} id */
function path(id) {
  const parts = id.split(":").slice(0, -1);
  return parts.map((_, position) => /** @type {any} */ (nodeAt(rootGraph(), parts.slice(0, position + 1).join(":")))?.title ?? "");
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

/** The whole report as one page. @param {any} payload */
async function pageOf(payload) {
  const template = await ownFile("report.html");
  const texts = await Promise.all(MODULES.map(async (name) => [name, await ownFile(`report/${name}`)]));
  return URL.createObjectURL(new Blob([compose(template, Object.fromEntries(texts), payload)], { type: "text/html" }));
}

/** @param {any} payload */
async function saveHtml(payload) {
  const link = document.createElement("a");
  link.href = await pageOf(payload);
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

/** Where the server gives a file of its output folder. @param {string} file */
function address(file) {
  const [, subfolder = "", filename = file] = file.match(/^(.*)\/([^/]*)$/) ?? [];
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type: "output" })}`);
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

/** @type {Record<string, (...values: any[]) => Promise<void>>} */
const commands = commandsOf({ edit, wishes: () => ({ evidence: setting(EVIDENCE), folder: setting(FOLDER) }) });
const COMMANDS = [ADD, ADD_ALL, REMOVE];

/** @type {unknown} */
let seenMistakes = null;

function lookForMistakes() {
  const mistakes = app.extensionManager.lastNodeErrors ?? app.lastNodeErrors;
  if (mistakes === seenMistakes) return;
  seenMistakes = mistakes;
  if (mistakes && sortMistakes(mistakes)) app.canvas?.setDirty(true, true);
}

/** @param {any} node */
function takesPart(node) {
  return [...(node.inputs ?? []), ...(node.outputs ?? [])].some(({ type }) => type === "MODEL");
}

/** @type {Record<string, () => View>} */
const MAKERS = {
  [DIAGNOSTICS]: () => createPanel({ saveHtml, colour: setting(COLOUR) }),
  [BACKEND]: createLine,
  [BENCHMARK]: createBench,
  [REPORT]: () => createReport({ address, open: async (payload) => void window.open(await pageOf(payload), "_blank") }),
};

/** What the user chose in the settings, on a new node; a saved one brings its own. @param {any} node */
function applySettings(node) {
  /** @type {Record<string, any[]>} */
  const defaults = { [DIAGNOSTICS]: ["evidence", setting(EVIDENCE)], [REPORT]: ["filename_prefix", setting(FOLDER) && `${setting(FOLDER)}/report`] };
  const wished = defaults[node.comfyClass];
  const widget = wished && node.widgets?.find((/** @type {any} */ each) => each.name === wished[0]);
  if (widget && wished[1]) widget.value = wished[1];
}

/** @type {Record<string, string[]>} */
const MENUS = { [BACKEND]: ["backend"], WanAttnRule: ["backend"], WanAttnSchedule: ["approximate", "exact"] };

/** The menus of backends: those that run here first, the others marked. @param {any} node */
function markMenu(node) {
  for (const widget of node.widgets?.filter((/** @type {any} */ each) => MENUS[node.comfyClass].includes(each.name)) ?? []) {
    if (!Array.isArray(widget.options?.values)) continue;
    widget.options.values = menuOrder(widget.options.values, possible);
    widget.options.getOptionLabel = (/** @type {string | null} */ value) => menuLabel(String(value ?? ""), possible);
  }
}

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
    api.addEventListener("execution_error", (/** @type {CustomEvent} */ event) => failed(event.detail));
    api.addEventListener("execution_success", keep);
    api.addEventListener("graphChanged", (/** @type {CustomEvent} */ event) => describe(event.detail));
    setInterval(lookForMistakes, LOOK_EVERY);
    window.addEventListener("pagehide", () => store.save());
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
      if (MENUS[node.comfyClass]) markMenu(node);
      return;
    }
    applySettings(node);
    if (MENUS[node.comfyClass]) markMenu(node);
    if (node.comfyClass === DIAGNOSTICS && setting(PANEL) === false) return;
    const view = MAKERS[node.comfyClass]();
    views.set(node, view);
    mount(node, view.element, SIZES[node.comfyClass], () => app.canvas);
    chain(node, "onRemoved", () => view.dispose());
    chain(node, "onExecuted", (output) => executed(node, output));
  },
  afterConfigureGraph: restore,
});
