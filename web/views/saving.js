// @ts-check
import { MODULES, compose } from "../standalone.js";
import { word } from "../report/words.js";

const KEPT_FOR = 60_000; // milliseconds that an address of a page is good for

/** Shows the report as a page of its own. A server may forbid data: addresses to whatever this page opens. @param {any} payload */
export async function openPage(payload) {
  const opened = window.open("", "_blank"); // at once: seconds after a click, with a busy server, a browser lets none be opened
  try {
    const address = await pageOf(payload, (source) => addressOf(source, "text/javascript"));
    if (opened) opened.location.href = address;
  } catch (error) {
    opened?.close();
    throw error;
  }
}

/** The whole report as one page: the address of it in this browser. @param {any} payload @param {(source: string) => string} [module] */
async function pageOf(payload, module) {
  const template = await ownFile("../report.html");
  const texts = await Promise.all(MODULES.map(async (name) => [name, await ownFile(`../report/${name}`)]));
  return addressOf(compose(template, Object.fromEntries(texts), payload, module), "text/html");
}

/** @param {string} text @param {string} type */
function addressOf(text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  setTimeout(() => URL.revokeObjectURL(address), KEPT_FOR);
  return address;
}

/** @param {any} payload */
export async function saveHtml(payload) {
  const link = document.createElement("a");
  link.href = await pageOf(payload);
  link.download = `attention_report_${String(payload.node ?? "").replace(/\W+/g, "_")}.html`;
  link.click();
}

/** A file of this pack, as the page itself was loaded. @param {string} name */
async function ownFile(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(word("the server did not give {0}", name));
  return answer.text();
}
