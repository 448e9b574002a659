// @ts-check
/** @typedef {import("./payload.js").Payload} Payload */
/** @typedef {import("./payload.js").Row} Row */

import {
  about, accountSentence, backendName, contradiction, count, deviceLines, environmentLine, failureOf, fallbackSentence, figure, gainSentence, headline, kind, label,
  peak, percent, placeText, plain, progress, shape, state,
} from "./format.js";
import { newestRun, shareOfTime } from "./payload.js";

const COLUMNS = ["role", "device", "shape", "kind", "calls", "requested", "active", "evidence", "ms", "TFLOP/s", "share of time", "reasons"];

/** Foreign text that stays text in Markdown, also inside a table. @param {string} text */
export function escaped(text) {
  return text.replace(/[\\`*_{}[\]<>|~#&!]/g, "\\$&");
}

/** Those of a table; the device only where there are several. @param {Payload} payload */
function columns(payload) {
  return payload.devices ? COLUMNS : COLUMNS.filter((name) => name !== "device");
}

/** @param {Payload} payload @param {Row} row */
function line(payload, row) {
  const share = shareOfTime(payload, row);
  const cells = [
    label(row.role), ...(payload.devices ? [placeText(row)] : []), shape(row), kind(row), count(row.calls), backendName(row.requested), backendName(row.active),
    label(row.evidence), figure(row.milliseconds), figure(row.tflops), share == null ? "–" : percent(share, 1),
    row.reasons.map(plain).join("; "),
  ];
  return `| ${cells.map(escaped).join(" | ")} |`;
}

/** The report for an issue or a chat. @param {Payload} payload */
export function toMarkdown(payload) {
  const warnings = [contradiction(payload), ...payload.fallbacks.map((fallback) => fallbackSentence(fallback, payload.calls))];
  const facts = [peak(newestRun(payload)), environmentLine(payload)].filter(Boolean).join(" · ");
  const sentences = [...payload.coverage.map((text) => `not seen: ${plain(text)}`), ...payload.notes.map(plain)];
  return [
    `**${escaped(headline(payload))}**`,
    "",
    escaped(about(payload)),
    "",
    escaped(accountSentence(payload)),
    failureOf(payload).told && `**${escaped(failureOf(payload).told)}** ${escaped(failureOf(payload).advice)}`,
    escaped(gainSentence(payload)),
    "",
    escaped([state(payload).word, progress(payload)].filter(Boolean).join(" · ")),
    "",
    ...warnings.filter(Boolean).map((text) => `- ⚠ ${escaped(text)}`),
    "",
    `| ${columns(payload).join(" | ")} |`,
    `| ${columns(payload).map(() => "---").join(" | ")} |`,
    ...payload.rows.map((row) => line(payload, row)),
    "",
    escaped(facts),
    "",
    ...deviceLines(payload).map((text) => `- ${escaped(text)}`),
    ...sentences.map((text) => `- ${escaped(text)}`),
  ].join("\n").replace(/\n{3,}/g, "\n\n").trim() + "\n";
}
