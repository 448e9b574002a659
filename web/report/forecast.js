// @ts-check
/** @typedef {import("./payload.js").Forecast} Forecast */

import { element, setText } from "./dom.js";
import { backendName, figure, label, many, plain } from "./format.js";
import { word } from "./words.js";

const MOST_KINDS = 100;
const COLUMNS = ["role", "calls of", "backend", "math would need"];

/** What the calls of the next run will be. */
export function createForecast() {
  const root = element("section", "rows forecast");
  const table = element("table");
  const head = element("tr");
  const body = element("tbody");
  let written = "";

  for (const name of COLUMNS) {
    const cell = element("th", "", word(name));
    cell.setAttribute("scope", "col");
    head.append(cell);
  }
  const top = element("thead");
  top.append(head);
  table.append(element("caption", "dim", word("expected")), top, body);
  root.append(table);

  /** @param {Forecast[]} kinds */
  function update(kinds) {
    root.hidden = kinds.length === 0;
    const shown = kinds.slice(0, MOST_KINDS);
    const now = JSON.stringify(shown);
    if (now === written) return;
    written = now;
    body.replaceChildren(...shown.map(line));
  }

  return { element: root, update };
}

/** @param {Forecast} kind */
function line(kind) {
  const made = element("tr");
  const keys = kind.kv_len === kind.q_len ? "" : `, ${many(kind.kv_len, "key")}`;
  const size = `${many(kind.heads, "head")} × ${many(kind.q_len, "token")}${keys}`;
  const will = [kind.active ? backendName(kind.active) : word("known once it runs"), kind.reason ? plain(kind.reason) : ""].filter(Boolean).join(": ");
  const gib = kind.math_gib == null ? "–" : `${figure(kind.math_gib)} GiB`;
  for (const text of [label(kind.role), size, will, gib]) {
    const cell = element("td");
    setText(cell, text);
    made.append(cell);
  }
  return made;
}
