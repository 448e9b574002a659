// @ts-check
import { MODULES, compose } from "../standalone.js";

const KEPT_FOR = 60_000; // milliseconds that an address of a page is good for

/** The whole report as one page: the address of it in this browser. @param {any} payload */
export async function pageOf(payload) {
  const template = await ownFile("../report.html");
  const texts = await Promise.all(MODULES.map(async (name) => [name, await ownFile(`../report/${name}`)]));
  const page = compose(template, Object.fromEntries(texts), payload);
  const address = URL.createObjectURL(new Blob([page], { type: "text/html" }));
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
  if (!answer.ok) throw new Error(`the server did not give ${name}`);
  return answer.text();
}
