// @ts-check
/** @typedef {import("../report/payload.js").Failure} Failure */

import { word } from "../report/words.js";

const OURS = /^Attention Backend '.*' cannot run this call/;

/** What the host's own event of a failed run tells, for a payload that does not say it itself.
 * @param {{exception_message?: string, exception_type?: string}} error @returns {Failure} */
export function failureIn({ exception_message = "", exception_type = "" }) {
  const lines = exception_message.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!OURS.test(lines[0] ?? "")) return { sentence: lines[0] || exception_type.split(".").at(-1) || word("the run failed") };
  const [, , ...rest] = lines; // the second line describes the call
  const advice = rest.pop() ?? "";
  return { sentence: rest.map((line) => line.replace(/^\w+: /, "")).join("; "), advice };
}

/** The reports whose model is that of a node: in the same graph, behind it. @param {any} node */
export function reportsOf(node) {
  const reached = new Set([node]);
  for (const each of reached) {
    for (const output of each.outputs ?? []) {
      for (const id of output.links ?? []) {
        const link = each.graph?.getLink?.(id) ?? each.graph?.links?.get?.(id);
        const next = link && each.graph.getNodeById(link.target_id);
        if (next && next.inputs?.[link.target_slot]?.type?.match(/^MODEL$|WANVIDEOMODEL/)) reached.add(next);
      }
    }
  }
  return [...reached].filter((each) => each.comfyClass === "WanAttnReport");
}
