// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Row} Row */

import { MOST_REASONS } from "./cells.js";
import { element, setItems, setText, shortened } from "./dom.js";
import { backendName, count, figure, kind, label, percent, placeText, plain, shape } from "./format.js";
import { swatch } from "./patterns.js";
import { isFallback, leftOut, shareOfTime } from "./payload.js";
import { word } from "./words.js";

const MOST_ROWS = 100;
const LONG = 40;
const COLUMNS = ["role", "device", "shape", "requested", "active", "evidence", "calls", "ms", "TFLOP/s", "share"];
const NUMBERS = new Set(["calls", "ms", "TFLOP/s", "share"]);
const MEANINGS = new Map([
  ["device", "where these calls ran"],
  ["requested", "what was asked for"],
  ["active", "what ran"],
  ["evidence", "how this is known. forced: that kernel was called by its own name; profiled: the profiler saw it; host: a function of ComfyUI or of another pack ran"],
  ["ms", "median milliseconds of a call"],
  ["share", "of the time that the model's forwards took"],
]);

/** The rows of a payload; a row's reasons open under it. */
export function createTable() {
  const root = element("section", "rows");
  const scroll = element("div", "scroll");
  const table = element("table");
  const more = element("p", "dim");
  /** @type {Map<string, ReturnType<typeof createRow>>} */
  let rows = new Map();

  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", word("calls by shape and backend"));
  const top = head();
  table.append(top.element);
  scroll.append(table);
  root.append(scroll, more);

  /** @param {Payload} payload @param {Map<string, string>} looks */
  function update(payload, looks) {
    const kept = new Map();
    const several = (payload.devices ?? []).length > 1;
    top.device.hidden = !several;
    for (const row of payload.rows.slice(0, MOST_ROWS)) {
      const key = keyOf(row);
      const view = rows.get(key) ?? createRow();
      kept.set(key, view);
      view.update(payload, row, looks.get(row.active) ?? "", several);
    }
    for (const [key, view] of rows) if (!kept.has(key)) view.element.remove();
    const bodies = [...kept.values()].map((view) => view.element);
    if (bodies.some((body, position) => table.children[position + 1] !== body)) table.append(...bodies);
    rows = kept;
    root.hidden = rows.size === 0;
    const rest = Math.max(0, payload.rows.length - MOST_ROWS) + leftOut(payload, "rows");
    setText(more, rest ? word(rest === 1 ? "{0} more row in the JSON of a report" : "{0} more rows in the JSON of a report", count(rest)) : "");
  }

  return { element: root, update };
}

/** @param {Row} row */
function keyOf(row) {
  return JSON.stringify([row.role, row.batch, row.heads, row.q_len, row.kv_len, row.head_dim, row.dtype, row.mask, row.device, row.rank, row.requested, row.active]);
}

/** The line of names; that of the device is shown where there are several. */
function head() {
  const made = element("thead");
  const line = element("tr");
  const cells = new Map();
  for (const name of COLUMNS) {
    const cell = element("th", NUMBERS.has(name) ? "number" : "", word(name));
    cell.setAttribute("scope", "col");
    cell.title = word(MEANINGS.get(name) ?? "");
    cells.set(name, cell);
    line.append(cell);
  }
  made.append(line);
  return { element: made, device: /** @type {HTMLElement} */ (cells.get("device")) };
}

/** What the profiler saw in a sampled call. @param {Row} row */
function proof(row) {
  const operators = (row.operators ?? []).slice(0, MOST_REASONS).map((name) => word("operator {0}", plain(name)));
  const kernels = (row.kernels ?? []).slice(0, MOST_REASONS).map((name) => word("kernel {0}", plain(name)));
  return [...operators, ...kernels];
}

/** One row and its reasons: a tbody of two lines. */
function createRow() {
  const body = element("tbody");
  const line = element("tr");
  const cells = COLUMNS.map((name) => element("td", NUMBERS.has(name) ? "number" : ""));
  const [role, device, facts, requested, active, evidence, ...numbers] = cells;
  const size = element("span", "size");
  const sort = element("span");
  const mark = element("span");
  const button = /** @type {HTMLButtonElement} */ (element("button", "why"));
  const reasons = element("tr", "reasons");
  const place = /** @type {HTMLTableCellElement} */ (element("td"));
  const list = element("ul");

  line.append(...cells);
  facts.append(size, sort);
  active.append(mark, button);
  place.append(list);
  reasons.append(place);
  reasons.hidden = true;
  button.type = "button";
  body.append(line, reasons);
  button.addEventListener("click", () => open(reasons.hidden));

  /** @param {boolean} whether */
  function open(whether) {
    reasons.hidden = !whether;
    button.setAttribute("aria-expanded", String(whether));
  }

  /** @param {Payload} payload @param {Row} row @param {string} look @param {boolean} several devices */
  function update(payload, row, look, several) {
    const fallback = isFallback(payload, row);
    const contradicted = row.mismatch === true;
    const share = shareOfTime(payload, row);
    setText(role, label(row.role));
    setText(device, placeText(row));
    device.hidden = !several;
    place.colSpan = COLUMNS.length - Number(!several);
    setText(size, shape(row));
    setText(sort, kind(row));
    setText(requested, backendName(row.requested));
    if (mark.dataset.look !== look) mark.replaceChildren(swatch(look), element("span"));
    mark.dataset.look = look;
    setText(/** @type {Element} */ (mark.lastElementChild), `${fallback ? "⚠ " : ""}${backendName(row.active)}`);
    mark.className = fallback ? "ran warning" : "ran";
    setText(evidence, `${contradicted ? "✕ " : ""}${label(row.evidence)}`);
    evidence.classList.toggle("alarm", contradicted);
    for (const cell of cells) cell.classList.toggle("long", (cell.textContent ?? "").length > LONG);
    const texts = [count(row.calls), figure(row.milliseconds), figure(row.tflops), share == null ? "–" : percent(share, 1)];
    numbers.forEach((cell, position) => setText(cell, texts[position]));
    const told = [...row.reasons.slice(0, MOST_REASONS).map(plain), ...proof(row)];
    setItems(list, shortened(told, MOST_REASONS, Math.max(0, row.reasons.length - MOST_REASONS)));
    button.hidden = told.length === 0;
    setText(button, row.reasons.length ? word("why?") : word("proof"));
    button.setAttribute("aria-label", row.reasons.length ? word("why {0}", backendName(row.active)) : word("proof of {0}", backendName(row.active)));
    open(!reasons.hidden && told.length > 0);
  }

  return { element: body, update };
}
