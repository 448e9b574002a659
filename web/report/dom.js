// @ts-check

import { word } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} tag @param {string} [className] @param {string} [text] always set as text, never as markup */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** @param {string} tag @param {Record<string, string | number>} [attributes] */
export function shape(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/** What a screen reader hears about a state: its beginning and its end, and nothing of what changes between. */
export function createSpoken() {
  const made = element("span", "spoken");
  made.setAttribute("role", "status");
  return {
    element: made,
    /** @param {string} state @param {string} name @param {string} end what came of it */
    tell(state, name, end) {
      if (state === "idle") setText(made, "");
      else setText(made, state === "running" ? name : [name, end].filter(Boolean).join(": "));
    },
  };
}

/** Changes a text only where it differs, so that a selection or a screen reader is left alone.
 * @param {Element} target @param {string} text */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** A list that can be read, and how much more there is. @param {string[]} texts @param {number} most @param {number} more left out before */
export function shortened(texts, most, more = 0) {
  const rest = Math.max(0, texts.length - most) + more;
  return rest ? [...texts.slice(0, most), word("and {0} more", rest.toLocaleString("en-US"))] : texts;
}

/** @param {HTMLElement} list @param {string[]} texts one item each @param {string} className */
export function setItems(list, texts, className = "") {
  const items = [...list.children];
  for (const item of items.splice(texts.length)) item.remove();
  const more = Array.from({ length: texts.length - items.length }, () => element("li", className));
  list.append(...more);
  [...items, ...more].forEach((item, position) => setText(item, texts[position]));
  list.hidden = texts.length === 0;
}
