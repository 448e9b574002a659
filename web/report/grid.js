// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Grid} Grid */
/** @typedef {import("./cells.js").Fact} Fact */
/** @typedef {"backend" | "time" | "tflops"} Colour */

import { LEVELS, cellFacts, gridLabel, gridLines, gridSentence, rowAt, scaleOf, valuesOf } from "./cells.js";
import { addCursor } from "./cursor.js";
import { element, setItems, setText, shape } from "./dom.js";
import { count, figure, label } from "./format.js";
import { CELL, gridPaths, swatch } from "./patterns.js";
import { isFallback } from "./payload.js";
import { word } from "./words.js";

const HEIGHT = 100;
const TALLEST_CELL = 12;
const SHORTEST_CELL = 4;
const WIDEST_CELL = 28;
const MARKS_FROM = 7;
const UNITS = { time: "ms", tflops: "TFLOP/s" };

/** @param {Payload} payload @param {Grid} grid @param {Map<string, string>} looks */
function byBackend(payload, grid, looks) {
  return grid.row.map((line) => line.map((index) => looks.get(payload.rows[index]?.active) ?? ""));
}

/** @param {(number | null)[][]} values @param {ReturnType<typeof scaleOf>} scale */
function byLevel(values, scale) {
  return values.map((line) => line.map((value) => (value == null || !scale ? "" : `level${scale.level(value)}`)));
}

/** @param {Payload} payload @param {Grid} grid */
function fallbackCells(payload, grid) {
  /** @type {Map<number, boolean>} */
  const known = new Map();
  /** @param {number} index */
  const fell = (index) => {
    const found = known.get(index) ?? (index in payload.rows && isFallback(payload, payload.rows[index]));
    known.set(index, found);
    return found;
  };
  return grid.row.map((line) => line.map(fell));
}

/** @param {ReturnType<typeof scaleOf>} scale @param {"time" | "tflops"} colour */
function ramp(scale, colour) {
  const made = element("span", "ramp");
  if (!scale) return made;
  const levels = Array.from({ length: LEVELS }, (_, level) => swatch(`level${level}`));
  const unit = `${UNITS[colour]}${scale.logarithmic ? ", by ratio" : ""}`;
  made.append(element("span", "", figure(scale.low)), ...levels, element("span", "", `${figure(scale.high)} ${unit}`));
  return made;
}

/**
 * One role's calls as a picture of blocks by steps.
 * @param {(facts: Fact[] | null) => void} tell hears about the cell under the pointer or the keyboard's cursor
 */
export function createGrid(tell) {
  const root = element("section", "grid");
  const caption = element("div", "label");
  const name = element("b");
  const detail = element("span", "dim");
  const warning = element("span", "warning");
  const legend = element("span", "dim end");
  const picture = /** @type {SVGElement} */ (shape("svg", { class: "cells", tabindex: 0, preserveAspectRatio: "none", role: "application", "aria-roledescription": "grid of calls" }));
  const paths = shape("g");
  const box = shape("rect", { class: "cursor", width: CELL, height: CELL, visibility: "hidden" });
  const button = /** @type {HTMLButtonElement} */ (element("button", "why", word("as text")));
  const words = element("ul", "words dim");
  /** @type {{payload: Payload, grid: Grid} | null} */
  let shown = null;

  caption.append(name, detail, warning, legend, button);
  picture.append(paths, box);
  root.append(caption, picture, words);
  words.hidden = true;
  button.type = "button";
  button.setAttribute("aria-expanded", "false");

  const cursor = addCursor(picture, {
    size: () => shown?.grid ?? { steps: 1, blocks: 1 },
    start: () => (shown ? firstPlace(shown.payload, shown.grid) : { step: 0, block: 0 }),
    show(place) {
      box.setAttribute("visibility", place ? "visible" : "hidden");
      if (!place || !shown) return tell(null);
      box.setAttribute("x", String(place.block * CELL));
      box.setAttribute("y", String(place.step * CELL));
      tell(cellFacts(shown.payload, shown.grid, place.step, place.block));
    },
  });
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
    writeWords();
  });

  function writeWords() {
    const open = button.getAttribute("aria-expanded") === "true";
    setItems(words, open && shown ? gridLines(shown.grid, shown.payload.rows) : []);
  }

  /** Returns whether frames were drawn. @param {Payload} payload @param {Grid} grid @param {Colour} colour @param {Map<string, string>} looks */
  function update(payload, grid, colour, looks) {
    shown = { payload, grid };
    setText(name, grid.rank == null ? label(grid.role) : `${label(grid.role)}, rank ${grid.rank}`);
    setText(detail, gridLabel(grid, payload.rows));
    const height = resize(picture, grid);
    picture.setAttribute("aria-label", gridSentence(grid, payload.rows));
    const values = colour === "backend" ? null : valuesOf(grid, payload.rows, colour);
    const scale = values && scaleOf(values);
    const kinds = values ? byLevel(values, scale) : byBackend(payload, grid, looks);
    const fell = fallbackCells(payload, grid);
    const amount = fell.flat().filter(Boolean).length;
    const seen = grid.row.flat().filter((index) => index >= 0).length;
    const framed = amount > 0 && amount <= seen / 2; // frames around nearly everything would only hide the colours
    setText(warning, amount ? `⚠ ${amount === 1 ? word("1 cell fell back") : word("{0} cells fell back", count(amount))}` : "");
    draw(paths, gridPaths(kinds, fell, { framed, marked: height >= MARKS_FROM }));
    legend.replaceChildren(colour === "backend" ? axes(grid) : ramp(scale, colour));
    writeWords();
    cursor.redraw();
    return framed;
  }

  return { element: root, update };
}

/** @param {Grid} grid */
function axes(grid) {
  const { blocks, steps, stride = 1 } = grid;
  const each = stride > 1 ? `, ${stride} in a line: its last call, one that fell back before the others` : "";
  return word("blocks 0–{0} →, steps 0–{1} ↓", blocks - 1, steps * stride - 1) + each;
}

/** Returns the height of a cell in pixels. @param {SVGElement} picture @param {Grid} grid */
function resize(picture, { blocks, steps }) {
  const cell = Math.max(SHORTEST_CELL, Math.min(TALLEST_CELL, Math.floor(HEIGHT / Math.max(1, steps))));
  picture.setAttribute("viewBox", `0 0 ${blocks * CELL} ${steps * CELL}`);
  picture.style.height = `${cell * steps}px`;
  picture.style.maxWidth = `${blocks * WIDEST_CELL}px`;
  return cell;
}

/** @param {Element} group @param {Map<string, string>} drawing class name to path data */
function draw(group, drawing) {
  const known = new Map([...group.children].map((path) => [path.getAttribute("class") ?? "", path]));
  for (const [name, path] of known) if (!drawing.has(name)) path.remove();
  for (const [name, data] of drawing) {
    const path = known.get(name) ?? group.appendChild(shape("path", { class: name }));
    if (path.getAttribute("d") !== data) path.setAttribute("d", data);
  }
  const order = [...group.children].sort((left, right) => layer(left) - layer(right));
  if (order.some((path, position) => path !== group.children[position])) group.append(...order);
}

/** @param {Element} path frames above gaps above marks above fills */
function layer(path) {
  return ["mark", "gaps", "frame"].indexOf(path.getAttribute("class") ?? "");
}

/** Where the keyboard starts: at the first call that fell back, else at the first of all. @param {Payload} payload @param {Grid} grid */
function firstPlace(payload, grid) {
  for (let step = 0; step < grid.steps; step += 1) {
    for (let block = 0; block < grid.blocks; block += 1) {
      const row = rowAt(grid, payload.rows, step, block);
      if (row && isFallback(payload, row)) return { step, block };
    }
  }
  return { step: 0, block: 0 };
}
