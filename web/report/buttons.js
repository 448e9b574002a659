// @ts-check
import { element, setText } from "./dom.js";
import { inEnglish, word } from "./words.js";

/**
 * @template Payload
 * @param {() => Payload | null} latest
 * @param {(payload: Payload) => string} toMarkdown
 * @param {(payload: Payload) => Promise<void>} [saveHtml] without it there is no such button
 */
export function createButtons(latest, toMarkdown, saveHtml) {
  const root = element("footer");
  const status = element("span", "dim");
  status.setAttribute("role", "status");

  /** @param {string} label @param {string} done @param {(payload: Payload) => Promise<void>} act */
  function add(label, done, act) {
    const button = /** @type {HTMLButtonElement} */ (element("button", "", word(label)));
    button.type = "button";
    button.addEventListener("click", async () => {
      const payload = latest();
      if (payload) setText(status, await outcome(act(payload), done));
    });
    root.append(button);
  }

  add("Copy Markdown", word("Markdown copied"), (payload) => copy(inEnglish(() => toMarkdown(payload))));
  add("Copy JSON", word("JSON copied"), (payload) => copy(JSON.stringify(payload)));
  if (saveHtml) add("Save HTML", word("HTML saved"), saveHtml);
  root.append(status);
  return root;
}

/** @param {Promise<void>} action @param {string} done */
async function outcome(action, done) {
  try {
    await action;
    return done;
  } catch (error) {
    return word("did not work: {0}", error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // A page over plain http from another machine has no clipboard; selecting and copying works there.
  const area = /** @type {HTMLTextAreaElement} */ (element("textarea"));
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error(word("the browser did not allow it"));
}
