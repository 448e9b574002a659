// @ts-check
/** The modules of web/report/, which a stand-alone report carries inside. */
export const MODULES = [
  "body.js", "buttons.js", "cells.js", "check.js", "css.js", "cursor.js", "dom.js", "forecast.js", "format.js", "grid.js", "header.js", "legend.js", "markdown.js",
  "page.js", "panel.js", "patterns.js", "payload.js", "schema.js", "steps.js", "style.js", "table.js", "updater.js", "words.js",
];

const SPECIFIER = /from "\.\//g;

/**
 * One file that opens from disk: inside data: addresses a module can only be named through an import map.
 * @param {string} template web/report.html
 * @param {Record<string, string>} sources file name to text, for each of MODULES
 * @param {unknown} payload
 * @param {(source: string) => string} address of a module's text
 */
export function compose(template, sources, payload, address = inside) {
  const imports = Object.fromEntries(MODULES.map((name) => [`wanattn/${name}`, address(sources[name].replace(SPECIFIER, 'from "wanattn/'))]));
  return template
    .replace("{{modules}}", () => json({ imports }))
    .replace("{{payload}}", () => json(payload));
}

/** @param {string} source */
function inside(source) {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

/** JSON that cannot end the script element it stands in. @param {unknown} value */
function json(value) {
  return JSON.stringify(value).replace(/[<>&\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
