// @ts-check
/** @typedef {{step: number, block: number}} Place */

const PAGE = 10;

/** Where a key leads from a cell, or null for a key that means nothing here.
 * @param {string} key @param {Place} from @param {{steps: number, blocks: number}} size @returns {Place | null} */
export function moved(key, { step, block }, { steps, blocks }) {
  const last = { step: Math.max(0, steps - 1), block: Math.max(0, blocks - 1) };
  switch (key) {
    case "ArrowLeft": return { step, block: Math.max(0, block - 1) };
    case "ArrowRight": return { step, block: Math.min(last.block, block + 1) };
    case "ArrowUp": return { step: Math.max(0, step - 1), block };
    case "ArrowDown": return { step: Math.min(last.step, step + 1), block };
    case "PageUp": return { step: Math.max(0, step - PAGE), block };
    case "PageDown": return { step: Math.min(last.step, step + PAGE), block };
    case "Home": return { step, block: 0 };
    case "End": return { step, block: last.block };
    default: return null;
  }
}

/** The cell under the pointer; works at any zoom of the page. @param {Element} target @param {MouseEvent} event
 * @param {{steps: number, blocks: number}} size @returns {Place | null} */
function placeUnder(target, event, { steps, blocks }) {
  const area = target.getBoundingClientRect();
  const step = Math.floor(((event.clientY - area.top) / area.height) * steps);
  const block = Math.floor(((event.clientX - area.left) / area.width) * blocks);
  const inside = step >= 0 && step < steps && block >= 0 && block < blocks;
  return inside ? { step, block } : null;
}

/**
 * Lets pointer and keyboard walk over a picture of cells.
 * @param {SVGElement} target
 * @param {{size: () => {steps: number, blocks: number}, start: () => Place, show: (place: Place | null) => void}} cells
 */
export function addCursor(target, { size, start, show }) {
  /** @type {Place | null} */
  let place = null;
  const hasFocus = () => target.getRootNode() instanceof Document && document.activeElement === target;
  /** @param {Place | null} next */
  const go = (next) => show((place = next));
  target.addEventListener("pointermove", (event) => go(placeUnder(target, event, size())));
  target.addEventListener("pointerleave", () => go(hasFocus() ? place : null));
  target.addEventListener("focus", () => go(place ?? start()));
  target.addEventListener("blur", () => go(null));
  target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const next = moved(event.key, place ?? start(), size());
    if (!next) return;
    event.preventDefault();
    event.stopPropagation(); // or the graph moves its nodes with the same keys
    go(next);
  });
  return { redraw: () => place && show(place) };
}
