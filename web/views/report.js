// @ts-check
/** @typedef {import("../report/payload.js").Payload} Payload */

import { looks as looksOf } from "../report/cells.js";
import { element, setText } from "../report/dom.js";
import { plain } from "../report/format.js";
import { createHead } from "../report/header.js";
import { complete } from "../report/payload.js";
import { installStyle, watchTone } from "../report/style.js";
import { word } from "../report/words.js";
import { createTable } from "../report/table.js";

const PLAN = "After the run: what attention really ran, as text, picture, JSON, CSV and HTML in the output folder.";
const MOST_FILES = 30;
const WRITTEN = /^written: (.*)$/m;

/** @param {any} told @returns {told is {filename: string, subfolder: string, type: string}} */
function isPicture(told) {
  return [told?.filename, told?.subfolder, told?.type].every((part) => typeof part === "string");
}

/** The files that a report's text names. @param {{text?: string, payload?: Payload | null}} told */
export function filesIn({ text = "", payload }) {
  if (payload?.files?.length) return payload.files;
  return (text.match(WRITTEN)?.[1] ?? "").split(", ").filter(Boolean);
}

/**
 * A finished run on the report's node: table, files, and the text that goes out of it.
 * @param {{address: (file: string, folder?: string) => string, open: (payload: Payload) => Promise<void>}} host
 */
export function createReport({ address, open }) {
  const root = element("div", "wanattn text");
  const plan = element("p", "plan", word(PLAN));
  const head = createHead();
  const table = createTable();
  const files = element("p", "files");
  const button = /** @type {HTMLButtonElement} */ (element("button", "", word("Open the report")));
  const shot = /** @type {HTMLImageElement} */ (element("img", "shot"));
  shot.alt = word("grid and table of this run");
  shot.addEventListener("error", () => (shot.hidden = true)); // a server that was started anew has emptied its temporary folder
  const more = element("details");
  const words = element("pre");
  /** @type {Payload | null} */
  let shown = null;

  installStyle();
  button.type = "button";
  button.addEventListener("click", () => shown && open(shown));
  more.append(element("summary", "dim", word("as text")), words);
  root.append(plan, head.element, files, table.element, shot, more);
  const dispose = watchTone(root);
  update({});

  /** @param {{text?: string, payload?: any, picture?: {filename: string, subfolder: string, type: string} | null}} told */
  function update({ text: given = "", payload = null, picture: image = null }) {
    const text = typeof given === "string" ? given : "";
    const picture = isPicture(image) ? image : null;
    shown = payload && complete(payload);
    plan.hidden = Boolean(text || shown);
    head.element.hidden = !shown;
    if (shown) {
      head.update(shown);
      table.update(shown, looksOf(shown));
    } else table.element.hidden = true;
    setText(words, text);
    more.hidden = !text;
    more.toggleAttribute("open", Boolean(text) && !shown);
    shot.hidden = !picture;
    if (picture) shot.src = address(`${picture.subfolder}/${picture.filename}`, picture.type);
    drawFiles(filesIn({ text, payload: shown }));
  }

  /** @param {string[]} names */
  function drawFiles(names) {
    const links = names.slice(0, MOST_FILES).map((name) => {
      const link = /** @type {HTMLAnchorElement} */ (element("a", "", plain(name)));
      Object.assign(link, { href: address(name), target: "_blank", rel: "noopener" });
      return link;
    });
    const now = [...(shown ? [button] : []), ...links];
    if (now.length !== files.children.length || now.some((each, position) => each.textContent !== files.children[position].textContent)) files.replaceChildren(...now);
    files.hidden = !shown && links.length === 0;
  }

  return { element: root, update, dispose };
}
