// @ts-check
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

/** Changes a text only where it differs, so that a selection or a screen reader is left alone.
 * @param {Element} target @param {string} text */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {HTMLElement} list @param {string[]} texts one item each @param {string} className */
export function setItems(list, texts, className = "") {
  while (list.children.length > texts.length) list.lastElementChild?.remove();
  while (list.children.length < texts.length) list.append(element("li", className));
  texts.forEach((text, position) => setText(list.children[position], text));
  list.hidden = texts.length === 0;
}
