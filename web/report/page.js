// @ts-check
import { createPanel } from "./panel.js";

/** Fills the stand-alone report from the data in the same file. @param {Document} page */
export function showReport(page) {
  const data = page.getElementById("wanattn-payload")?.textContent ?? "{}";
  const panel = createPanel();
  panel.element.classList.add("page");
  panel.element.setAttribute("role", "main");
  page.body.append(panel.element);
  panel.update(JSON.parse(data));
}
