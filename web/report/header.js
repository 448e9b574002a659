// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */

import { looks as looksOf } from "./cells.js";
import { element, setItems, setText, shape } from "./dom.js";
import { about, accountSentence, contradiction, count, failureOf, fallbackSentence, gainSentence, headline, progress, shares, state } from "./format.js";
import { leftOut } from "./payload.js";
import { word } from "./words.js";

const MOST_FALLBACKS = 4;
const MOST_SHARES = 100;
const ENDED_BADLY = new Set(["failed", "interrupted"]);

/** What a glance should tell: state, requested and active, and what fell back. */
export function createHead() {
  const root = element("header");
  const line = element("div", "state");
  const sign = element("span", "sign");
  const name = element("b");
  const done = element("span", "dim");
  const title = element("div", "headline");
  const bar = shape("svg", { class: "share", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" });
  const subject = element("p", "dim");
  const failure = element("p", "failure");
  const advice = element("p", "advice");
  const alarm = element("p", "alarm");
  const fallbacks = element("ul", "fallbacks");
  const gain = element("p", "gain");
  const fine = element("p", "fine");

  sign.setAttribute("aria-hidden", "true");
  title.setAttribute("role", "heading");
  title.setAttribute("aria-level", "3");
  line.append(sign, name, done);
  root.append(line, subject, failure, advice, title, bar, gain, alarm, fallbacks, fine);

  /** @param {Payload} payload */
  function update(payload) {
    const now = state(payload);
    const { told, advice: help } = failureOf(payload);
    root.dataset.state = payload.state;
    setText(sign, now.sign);
    setText(name, now.word);
    setText(done, progress(payload));
    setText(title, payload.state === "idle" || (told && !payload.calls) ? "" : headline(payload));
    drawShares(bar, payload);
    setText(subject, about(payload));
    setText(failure, told && `✕ ${told}`);
    setText(advice, help);
    setText(gain, gainSentence(payload));
    gain.toggleAttribute("data-slower", (payload.gain?.attention ?? 1) < 1);
    setText(alarm, contradiction(payload) && `✕ ${contradiction(payload)}`);
    setItems(fallbacks, warnings(payload));
    const ended = ENDED_BADLY.has(payload.state) || payload.failure;
    const good = payload.calls > 0 && !ended && !payload.fallbacks.length && !contradiction(payload) && !accountSentence(payload);
    setText(fine, good ? `✓ ${word("no call fell back")}` : "");
  }

  return { element: root, update };
}

/** @param {Payload} payload */
function warnings(payload) {
  const said = payload.fallbacks.slice(0, MOST_FALLBACKS).map((fallback) => `⚠ ${fallbackSentence(fallback, payload.calls)}`);
  const rest = payload.fallbacks.length - said.length + leftOut(payload, "fallbacks");
  const past = accountSentence(payload);
  const first = past ? [`⚠ ${past}`, ...said] : said;
  return rest > 0 ? [...first, `⚠ ${word(rest === 1 ? "{0} more reason in the table" : "{0} more reasons in the table", count(rest))}`] : first;
}

/** @param {Element} bar @param {Payload} payload */
function drawShares(bar, payload) {
  const looks = looksOf(payload);
  let left = 0;
  const parts = shares(payload).slice(0, MOST_SHARES).map(([name, calls]) => {
    const width = (100 * calls) / (payload.calls || 1);
    const part = shape("rect", { class: `fill ${looks.get(name)}`, x: left.toFixed(3), y: 0, width: width.toFixed(3), height: 1 });
    left += width;
    return part;
  });
  bar.replaceChildren(...parts);
  bar.toggleAttribute("hidden", payload.calls === 0);
}
