// @ts-check
/** @typedef {import("../report/payload.js").Payload} Payload */

import { createSpoken, element, setItems, setText } from "../report/dom.js";
import { contradiction, count, failureOf, fallbackSentence, gainSentence, headline, state } from "../report/format.js";
import { complete } from "../report/payload.js";
import { installStyle, watchTone } from "../report/style.js";
import { word } from "../report/words.js";
import { createUpdater } from "../report/updater.js";

/** The panel in a line or two; before a run, what the node will do. */
export function createLine() {
  const root = element("div", "wanattn line");
  const now = element("div", "now");
  const sign = element("span", "sign");
  const text = element("b");
  const warning = element("span", "warning");
  const failure = element("p", "failure");
  const more = element("p", "dim");
  const list = element("ul", "dim");
  const needs = element("details", "dim");
  const wanted = element("ul");
  const spoken = createSpoken();
  /** @type {{plan: string, lines?: string[], needs?: string[], place?: string}} */
  let idle = { plan: "" };

  installStyle();
  sign.setAttribute("aria-hidden", "true");
  now.append(sign, text, warning);
  needs.append(element("summary", "", word("what they need")), wanted);
  root.append(now, failure, more, list, needs, spoken.element);
  const stopWatching = watchTone(root);

  const updater = createUpdater(root, (/** @type {Payload} */ payload) => {
    const calls = payload.fallbacks.reduce((sum, fallback) => sum + fallback.calls, 0);
    const wrong = contradiction(payload);
    const { told, advice } = failureOf(payload);
    const waiting = payload.state === "idle";
    root.dataset.state = payload.state;
    root.title = titleOf(payload);
    setText(sign, waiting && idle.place ? "" : state(payload).sign);
    setText(text, waiting && idle.place ? idle.place : waiting || payload.state === "bypassed" ? state(payload).word : headline(payload));
    setText(warning, wrong ? `✕ ${wrong}` : calls ? `⚠ ${word("{0} fell back", count(calls))}` : "");
    setText(failure, told);
    spoken.tell(payload.state, state(payload).word, told || (payload.state === "bypassed" ? "" : headline(payload)));
    setText(more, payload.state === "bypassed" ? word(BYPASSED) : waiting ? idle.plan : [advice, gainSentence(payload)].filter(Boolean).join(" · "));
    setItems(list, waiting ? idle.lines ?? [] : []);
    setItems(wanted, waiting ? idle.needs ?? [] : []);
    needs.hidden = wanted.hidden;
  });
  updater.update(complete(null));

  /** @param {{plan: string, lines?: string[], needs?: string[], place?: string}} told */
  function describe(told) {
    idle = told;
    updater.update(updater.latest() ?? complete(null));
  }

  function dispose() {
    stopWatching();
    updater.dispose();
  }

  return { element: root, update: (/** @type {any} */ payload) => updater.update(complete(payload)), describe, dispose };
}

const MOST_SENTENCES = 12;
const BYPASSED = "ComfyUI's own attention runs, as if this node were not there";

/** @param {Payload} payload */
function titleOf(payload) {
  const sentences = payload.fallbacks.slice(0, MOST_SENTENCES).map((fallback) => fallbackSentence(fallback, payload.calls));
  return [headline(payload), contradiction(payload), ...sentences].filter(Boolean).join("\n");
}
