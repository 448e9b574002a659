// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./grid.js").Colour} Colour */

import { element, setText } from "./dom.js";
import { backendName, shares } from "./format.js";
import { swatch } from "./patterns.js";
import { word } from "./words.js";

/** @type {[Colour, string][]} */
const COLOURS = [["backend", "backend"], ["time", "time"], ["tflops", "TFLOP/s"]];
const MOST_NAMES = 24;
let panels = 0;

/** The legend, and the choice of what the colours stand for. @param {() => void} changed @param {Colour} [first] */
export function createKey(changed, first = "backend") {
  const root = element("div", "key");
  const legend = element("div", "legend");
  const choice = element("fieldset", "choice");
  const group = `wanattn-colour-${(panels += 1)}`;
  /** @type {Colour} */
  let colour = first;
  let written = "";

  choice.append(element("legend", "", word("colour")));
  for (const [value, label] of COLOURS) {
    const radio = /** @type {HTMLInputElement} */ (element("input"));
    const wrap = element("label");
    Object.assign(radio, { type: "radio", name: group, value, checked: value === colour });
    radio.addEventListener("change", () => ((colour = value), changed()));
    radio.addEventListener("keydown", (event) => event.stopPropagation()); // arrows choose here, and move no node
    wrap.append(radio, element("span", "", word(label)));
    choice.append(wrap);
  }
  root.append(legend, choice);

  /** @param {Payload} payload @param {Map<string, string>} looks @param {{visible: boolean, framed: boolean}} show */
  function update(payload, looks, { visible, framed }) {
    root.hidden = !visible;
    const names = colour === "backend" ? shares(payload).slice(0, MOST_NAMES).map(([name]) => name) : [];
    const now = JSON.stringify([names, framed, colour]);
    if (now === written) return;
    written = now;
    const items = names.map((name) => item(looks.get(name) ?? "", backendName(name)));
    if (framed) items.push(item("framed", word("fell back")));
    if (colour !== "backend") items.unshift(words(colour));
    legend.replaceChildren(...items);
  }

  return { element: root, update, colour: () => colour };
}

/** @param {string} look @param {string} text */
function item(look, text) {
  const made = element("span", "item");
  made.append(look === "framed" ? element("span", "framed") : swatch(look), element("span", "", text));
  return made;
}

/** @param {Colour} colour */
function words(colour) {
  const made = element("span", "item");
  setText(made, colour === "time" ? word("milliseconds of each call") : word("TFLOP/s of each call"));
  return made;
}
