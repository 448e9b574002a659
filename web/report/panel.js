// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Forecast} Forecast */
/** @typedef {import("./cells.js").Fact} Fact */
/** @typedef {import("./grid.js").Colour} Colour */

import { createButtons } from "./buttons.js";
import { looks as looksOf } from "./cells.js";
import { element, setItems, setText } from "./dom.js";
import { environmentLine, peak, plain } from "./format.js";
import { createForecast } from "./forecast.js";
import { createGrid } from "./grid.js";
import { createHead } from "./header.js";
import { createKey } from "./legend.js";
import { toMarkdown } from "./markdown.js";
import { complete, newestRun, planned } from "./payload.js";
import { installStyle, watchTone } from "./style.js";
import { createSteps } from "./steps.js";
import { createTable } from "./table.js";
import { createUpdater } from "./updater.js";

const HINT = "Point at a cell, or focus a grid and use the arrow keys, to see that call.";

/**
 * The live view of one payload.
 * @param {{saveHtml?: (payload: Payload) => Promise<void>}} [options] without saveHtml there is no such button
 * @returns {{element: HTMLElement, update: (payload: any) => void, describe: (told: {plan: string, forecast: Forecast[]}) => void, dispose: () => void}}
 */
export function createPanel({ saveHtml } = {}) {
  const root = element("div", "wanattn");
  const head = createHead();
  const key = createKey(() => drawGrids());
  const facts = element("output", "facts");
  const tell = (/** @type {Fact[] | null} */ told) => showFacts(facts, told);
  const plan = element("p", "plan");
  const forecast = createForecast();
  const grids = element("div", "grids");
  /** @type {Map<string, ReturnType<typeof createGrid>>} */
  const views = new Map();
  const table = createTable();
  const steps = createSteps(tell);
  const machine = element("p", "machine dim");
  const unseen = element("ul", "unseen dim");
  const buttons = createButtons(() => updater.latest(), toMarkdown, saveHtml);
  /** The last payload that came with a grid: its cells point into its own rows. @type {Payload | null} */
  let picture = null;
  /** @type {{plan: string, forecast: Forecast[]}} */
  let idle = { plan: "", forecast: [] };

  installStyle();
  root.append(head.element, plan, forecast.element, steps.element, key.element, grids, facts, table.element, machine, unseen, buttons);
  const stopWatching = watchTone(root);
  const updater = createUpdater(root, draw);
  tell(null);
  updater.update(complete(null));

  function drawGrids() {
    if (!picture) return;
    const shown = (picture.grid ?? []).filter((grid) => grid.row.length > 0).map((grid) => planned(/** @type {Payload} */ (picture), grid));
    const looks = looksOf(picture);
    for (const [name, view] of views) {
      if (!shown.some((grid) => nameOf(grid) === name)) (view.element.remove(), views.delete(name));
    }
    let framed = false;
    for (const grid of shown) {
      const view = views.get(nameOf(grid)) ?? createGrid(tell);
      if (!views.has(nameOf(grid))) grids.append(view.element);
      views.set(nameOf(grid), view);
      framed = view.update(picture, grid, key.colour(), looks) || framed;
    }
    key.update(picture, looks, { visible: shown.length > 0, framed });
    facts.hidden = shown.length === 0;
  }

  /** @param {Payload} payload */
  function draw(payload) {
    if (payload.grid || payload.calls === 0) picture = payload;
    head.update(payload);
    setText(plan, payload.state === "idle" ? idle.plan : "");
    forecast.update(payload.state === "idle" ? forecastOf(payload) : []);
    drawGrids();
    table.update(payload, looksOf(payload));
    steps.update(newestRun(payload), payload.state);
    setText(machine, [peak(newestRun(payload)), environmentLine(payload)].filter(Boolean).join(" · "));
    setItems(unseen, [...payload.coverage.map((text) => `not seen by the hook: ${plain(text)}`), ...payload.notes.map(plain)]);
    buttons.hidden = payload.calls === 0;
  }

  /** What to say before a run: what the node will do, and the calls it will meet, where that can be told.
   * @param {{plan: string, forecast: Forecast[]}} told */
  function describe(told) {
    idle = told;
    updater.update(updater.latest() ?? complete(null));
  }

  /** What the host found out about the model says more than what the page could read. @param {Payload} payload */
  function forecastOf(payload) {
    return payload.forecast?.length ? payload.forecast : idle.forecast;
  }

  function dispose() {
    stopWatching();
    updater.dispose();
  }

  return { element: root, update: (payload) => updater.update(complete(payload)), describe, dispose };
}

/** @param {{role: string, run: number}} grid */
function nameOf(grid) {
  return `${grid.role} ${grid.run}`;
}

/** @param {Element} target @param {Fact[] | null} facts */
function showFacts(target, facts) {
  const told = facts ?? [{ text: HINT, kind: "dim" }];
  if (target.textContent === told.map(({ text }) => text).join("")) return;
  target.replaceChildren(...told.map(({ text, kind }) => element("span", kind, text)));
}
