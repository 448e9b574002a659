// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Forecast} Forecast */
/** @typedef {{plan: string, forecast: Forecast[]}} Idle what a node will do, and the calls that it will meet */
/** @typedef {{saveHtml?: (payload: Payload) => Promise<void>, colour?: import("./grid.js").Colour}} Options without saveHtml
 *  there is no such button; `colour` is what the cells' colours stand for at first */

import { createBody } from "./body.js";
import { element, setText } from "./dom.js";
import { createForecast } from "./forecast.js";
import { createHead } from "./header.js";
import { complete } from "./payload.js";
import { installStyle, watchTone } from "./style.js";
import { createUpdater } from "./updater.js";

/**
 * The live view of one payload. Before a run it is a few lines, so that a hundred of them weigh little.
 * @param {Options} [options]
 * @returns {{element: HTMLElement, update: (payload: any) => void, describe: (told: Idle) => void, dispose: () => void}}
 */
export function createPanel(options = {}) {
  const root = element("div", "wanattn");
  const head = createHead();
  const plan = element("p", "plan");
  const forecast = createForecast();
  /** @type {ReturnType<typeof createBody> | null} */
  let body = null;
  /** @type {Idle} */
  let idle = { plan: "", forecast: [] };

  installStyle();
  root.append(head.element, plan, forecast.element);
  const stopWatching = watchTone(root);
  const updater = createUpdater(root, draw);
  updater.update(complete(null));

  /** @param {Payload} payload */
  function draw(payload) {
    const waiting = payload.state === "idle";
    head.update(payload);
    setText(plan, waiting ? idle.plan : "");
    const before = waiting || (payload.state === "running" && !payload.calls);
    forecast.update(before ? (payload.forecast?.length ? payload.forecast : idle.forecast) : []); // the host knows more than the page
    if (waiting || payload.fault || payload.state === "bypassed") return empty();
    if (!body) {
      body = createBody(() => updater.latest(), options);
      root.append(...body.elements);
    }
    body.update(payload);
  }

  function empty() {
    body?.elements.forEach((each) => each.remove());
    body = null;
  }

  /** @param {Idle} told */
  function describe(told) {
    idle = told;
    updater.update(updater.latest() ?? complete(null));
  }

  function dispose() {
    stopWatching();
    updater.dispose();
  }

  return { element: root, update: (payload) => updater.update(complete(payload)), describe, dispose };
}
