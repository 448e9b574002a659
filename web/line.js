// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */

import { element, setText } from "./dom.js";
import { contradiction, count, fallbackSentence, headline, state } from "./format.js";
import { complete } from "./payload.js";
import { installStyle, watchTone } from "./style.js";
import { createUpdater } from "./updater.js";

/** The panel in one line. */
export function createLine() {
  const root = element("div", "wanattn line");
  const sign = element("span", "sign");
  const text = element("b");
  const warning = element("span", "warning");

  installStyle();
  sign.setAttribute("aria-hidden", "true");
  root.append(sign, text, warning);
  const stopWatching = watchTone(root);

  const updater = createUpdater(root, (/** @type {Payload} */ payload) => {
    const calls = payload.fallbacks.reduce((sum, fallback) => sum + fallback.calls, 0);
    const sentences = payload.fallbacks.map((fallback) => fallbackSentence(fallback, payload.calls));
    const wrong = contradiction(payload);
    root.dataset.state = payload.state;
    root.title = [headline(payload), wrong, ...sentences].filter(Boolean).join("\n");
    setText(sign, state(payload).sign);
    setText(text, headline(payload));
    setText(warning, wrong ? `✕ ${wrong}` : calls ? `⚠ ${count(calls)} fell back` : "");
  });

  function dispose() {
    stopWatching();
    updater.dispose();
  }

  return { element: root, update: (/** @type {any} */ payload) => updater.update(complete(payload)), dispose };
}
