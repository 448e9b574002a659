// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./cells.js").Fact} Fact */

import { createButtons } from "./buttons.js";
import { looks as looksOf } from "./cells.js";
import { element, setItems, setText, shortened } from "./dom.js";
import { count, deviceLines, environmentLine, peak, plain } from "./format.js";
import { createGrid } from "./grid.js";
import { createKey } from "./legend.js";
import { toMarkdown } from "./markdown.js";
import { leftOut, newestRun, planned } from "./payload.js";
import { createSteps } from "./steps.js";
import { createTable } from "./table.js";
import { word } from "./words.js";

const MOST_NOTES = 60;
const MOST_GRIDS = 16;
const HINT = "Point at a cell, or focus a grid and use the arrow keys, to see that call.";

/**
 * All that there is to see once something ran.
 * @param {() => Payload | null} latest @param {import("./panel.js").Options} options
 */
export function createBody(latest, { saveHtml, colour }) {
  const key = createKey(() => drawGrids(), colour);
  const facts = element("output", "facts");
  const tell = (/** @type {Fact[] | null} */ told) => showFacts(facts, told);
  const grids = element("div", "grids");
  const more = element("p", "dim");
  /** @type {Map<string, ReturnType<typeof createGrid>>} */
  const views = new Map();
  const table = createTable();
  const steps = createSteps(tell);
  const machine = element("p", "machine dim");
  const devices = element("ul", "devices");
  const unseen = element("ul", "unseen dim");
  const buttons = createButtons(latest, toMarkdown, saveHtml);
  const foot = element("div", "foot");
  /** The last payload that came with a grid: its cells point into its own rows. @type {Payload | null} */
  let picture = null;

  foot.append(facts, buttons);
  tell(null);

  function drawGrids() {
    if (!picture) return;
    const drawn = (picture.grid ?? []).filter((grid) => grid.row.length > 0).slice(0, MOST_GRIDS);
    const shown = besides(drawn).map((grid) => planned(/** @type {Payload} */ (picture), grid));
    const ranks = new Set(shown.map(({ rank }) => rank)).size;
    grids.style.cssText = ranks > 1 ? `display: grid; gap: 8px; grid-template-columns: repeat(${ranks}, minmax(0, 1fr))` : "";
    const looks = looksOf(picture);
    for (const [name, view] of views) {
      if (!shown.some((grid) => nameOf(grid) === name)) (view.element.remove(), views.delete(name));
    }
    let framed = false;
    for (const grid of shown) {
      const view = views.get(nameOf(grid)) ?? createGrid(tell);
      views.set(nameOf(grid), view);
      framed = view.update(picture, grid, key.colour(), looks) || framed;
    }
    const order = shown.map((grid) => /** @type {HTMLElement} */ (views.get(nameOf(grid))?.element));
    if (order.some((each, position) => grids.children[position] !== each)) grids.replaceChildren(...order);
    key.update(picture, looks, { visible: shown.length > 0, framed });
    const rest = Math.max(0, (picture.grid?.length ?? 0) - MOST_GRIDS) + leftOut(picture, "grids");
    setText(more, rest ? word(rest === 1 ? "and {0} more grid" : "and {0} more grids", count(rest)) : "");
    facts.hidden = shown.length === 0;
  }

  /** @param {Payload} payload */
  function update(payload) {
    if (payload.grid || payload.calls === 0) picture = payload;
    drawGrids();
    table.update(payload, looksOf(payload));
    steps.update(newestRun(payload), payload.state);
    setText(machine, [peak(newestRun(payload)), environmentLine(payload)].filter(Boolean).join(" · "));
    setItems(devices, shortened(deviceLines(payload), MOST_NOTES));
    setItems(unseen, told(payload));
    buttons.hidden = payload.calls === 0;
  }

  return { elements: [steps.element, key.element, grids, more, table.element, devices, machine, unseen, foot], update };
}

/** @param {Payload} payload */
function told(payload) {
  const sentences = [
    ...payload.coverage.slice(0, MOST_NOTES).map((text) => word("not seen by the hook: {0}", plain(text))),
    ...payload.notes.slice(0, MOST_NOTES).map(plain),
  ];
  return shortened(sentences, MOST_NOTES, payload.coverage.length + payload.notes.length - sentences.length + leftOut(payload, "notes"));
}

/** @param {{role: string, run: number, rank?: number}} grid */
function nameOf(grid) {
  return `${grid.role} ${grid.run} ${grid.rank ?? ""}`;
}

/** Role by role, in each one picture a rank. @template {{role: string, rank?: number}} G @param {G[]} grids @returns {G[]} */
function besides(grids) {
  const roles = [...new Set(grids.map(({ role }) => role))];
  return [...grids].sort((one, two) => roles.indexOf(one.role) - roles.indexOf(two.role) || (one.rank ?? 0) - (two.rank ?? 0));
}

/** @param {Element} target @param {Fact[] | null} facts */
function showFacts(target, facts) {
  const told = facts ?? [{ text: word(HINT), kind: "dim" }];
  if (target.textContent === told.map(({ text }) => text).join("")) return;
  target.replaceChildren(...told.map(({ text, kind }) => element("span", kind, text)));
}
