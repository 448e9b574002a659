// @ts-check
/** @typedef {{details?: string, extra_info?: {input_name?: string}}} Mistake */

/**
 * The host tells every input of a node what was wrong with any of them. Leaves each input the lines that name it, and no
 * mistake where there are none; lines that name no input stay with all. Returns whether anything changed.
 * @param {Record<string, {class_type?: string, errors?: Mistake[]}>} nodes changed in place
 */
export function sortMistakes(nodes) {
  let changed = false;
  for (const { class_type = "", errors } of Object.values(nodes)) {
    if (!class_type.startsWith("WanAttn") || !errors) continue;
    const names = errors.map(({ extra_info }) => extra_info?.input_name ?? "");
    const kept = errors.map((mistake) => ownLines(mistake, names)).filter((mistake) => mistake.details !== "");
    if (JSON.stringify(kept) === JSON.stringify(errors) || !kept.length) continue;
    errors.splice(0, Infinity, ...kept);
    changed = true;
  }
  return changed;
}

/** @param {Mistake} mistake @param {string[]} names @returns {Mistake} */
function ownLines(mistake, names) {
  const name = mistake.extra_info?.input_name;
  const start = `${name} - `;
  if (!name || !mistake.details?.startsWith(start)) return mistake;
  const lines = mistake.details.slice(start.length).split("\n");
  const own = lines.filter((line) => (ownerOf(line, names) ?? name) === name).map((line) => line.replace(`${name}: `, ""));
  return { ...mistake, details: own.length ? `${start}${own.join("\n")}` : "" };
}

/** The input that a sentence is about: the one that its first words name, also one of a list. @param {string} line @param {string[]} names */
function ownerOf(line, names) {
  const words = line.split(/[\s:]+/, 2);
  return names.find((name) => words.includes(name) || words.includes(name.replace(/s$/, "")));
}
