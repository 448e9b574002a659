// @ts-check
// One unit of these paths is a tenth of a cell. A look is a colour and a mark, so that no meaning hangs on colour alone.

import { shape } from "./dom.js";

export const CELL = 10;

/** @type {Record<string, (x: number, y: number) => string>} */
const MARKS = {
  flash: (x, y) => `M${x + 3} ${y + 5}h4`,
  efficient: (x, y) => `M${x} ${y + 5}h10`,
  math: (x, y) => `M${x} ${y}l10 10m0 -10l-10 10`,
  other0: (x, y) => `M${x} ${y + 10}l10 -10`,
  other1: (x, y) => `M${x + 3} ${y}v10m4 0v-10`,
  other2: (x, y) => `M${x} ${y + 3}h10m0 4h-10`,
};

/** @param {number} x @param {number} y @param {number} cells side by side */
function box(x, y, cells = 1) {
  return `M${x} ${y}h${cells * CELL}v${CELL}h${-cells * CELL}z`;
}

/**
 * The drawing of a grid as few paths: class name to path data. Equal neighbours are one box, lines part the cells.
 * @param {string[][]} kinds what each cell is, by step and block; "" where there was no call
 * @param {boolean[][]} outstanding which cells get a frame
 * @param {{framed: boolean, marked: boolean}} show whether frames help, and whether cells are large enough for marks
 */
export function gridPaths(kinds, outstanding, { framed, marked }) {
  /** @type {Map<string, string[]>} */
  const paths = new Map();
  /** @param {string} name @param {string} data */
  const draw = (name, data) => {
    const path = paths.get(name);
    if (path) path.push(data);
    else paths.set(name, [data]);
  };
  kinds.forEach((line, step) => {
    let first = 0;
    line.forEach((kind, block) => {
      const x = block * CELL;
      const y = step * CELL;
      if (marked && MARKS[kind]) draw("mark", MARKS[kind](x, y));
      if (framed && outstanding[step][block]) draw("frame", box(x, y));
      if (kind === line[block + 1]) return;
      draw(kind ? `fill ${kind}` : "fill empty", box(first * CELL, y, block + 1 - first));
      first = block + 1;
    });
  });
  draw("gaps", gaps(kinds[0]?.length ?? 0, kinds.length));
  return new Map([...paths].map(([name, data]) => [name, data.join("")]));
}

/** @param {number} blocks @param {number} steps */
function gaps(blocks, steps) {
  const down = Array.from({ length: blocks + 1 }, (_, block) => `M${block * CELL} 0v${steps * CELL}`);
  const across = Array.from({ length: steps + 1 }, (_, step) => `M0 ${step * CELL}h${blocks * CELL}`);
  return [...down, ...across].join("");
}

/** A cell for a legend. @param {string} kind */
export function swatch(kind) {
  const picture = shape("svg", { viewBox: `0 0 ${CELL} ${CELL}`, class: "swatch", "aria-hidden": "true" });
  picture.append(shape("path", { class: `fill ${kind}`, d: box(0, 0) }));
  if (MARKS[kind]) picture.append(shape("path", { class: "mark", d: MARKS[kind](0, 0) }));
  return picture;
}
