// @ts-check
/** @typedef {import("../report/payload.js").Payload} Payload */

import { element, setText } from "../report/dom.js";
import { contradiction, count, fallbackSentence, headline, state } from "../report/format.js";
import { complete } from "../report/payload.js";
import { installStyle, watchTone } from "../report/style.js";
import { createUpdater } from "../report/updater.js";

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
