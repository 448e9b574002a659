// @ts-check
/** @typedef {{details?: string, extra_info?: {input_name?: string}}} Mistake */

const NAMED = /^(\w+): /;

/**
 * The host tells every input of a node what was wrong with any of them. Leaves each input the lines that name it, and no
 * mistake where there are none; lines that name no input stay with all. Returns whether anything changed.
 * @param {Record<string, {class_type?: string, errors?: Mistake[]}>} nodes changed in place
 */
export function sortMistakes(nodes) {
  let changed = false;
  for (const { class_type = "", errors } of Object.values(nodes)) {
    if (!class_type.startsWith("WanAttn") || !errors) continue;
    const kept = errors.map(ownLines).filter((mistake) => mistake.details !== "");
    if (JSON.stringify(kept) === JSON.stringify(errors) || !kept.length) continue;
    errors.splice(0, Infinity, ...kept);
    changed = true;
  }
  return changed;
}

/** @param {Mistake} mistake @returns {Mistake} */
function ownLines(mistake) {
  const name = mistake.extra_info?.input_name;
  const start = `${name} - `;
  if (!name || !mistake.details?.startsWith(start)) return mistake;
  const lines = mistake.details.slice(start.length).split("\n");
  const own = lines.filter((line) => (line.match(NAMED)?.[1] ?? name) === name).map((line) => line.replace(NAMED, ""));
  return { ...mistake, details: own.length ? `${start}${own.join("\n")}` : "" };
}
