// @ts-check
import { element, setText } from "../report/dom.js";
import { installStyle, watchTone } from "../report/style.js";

/** A report in words, in columns that line up. */
export function createText() {
  const root = element("div", "wanattn text");
  const words = element("pre");
  installStyle();
  root.append(words);
  const dispose = watchTone(root);
  return { element: root, update: (/** @type {{text: string}} */ { text }) => setText(words, text), dispose };
}
