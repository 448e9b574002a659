// Runs in the page: draws a payload once for every field and every wrong kind of value in its place.

const GONE = Symbol("gone");
export const WRONG = [
  null, true, false, 0, -1, 0.5, 7, 1e300, 2 ** 53, NaN, Infinity, "", "text", "7", "<b>", [], [null], [1], ["text"], [[]], [{}], {}, { text: 1 }, { 0: null },
  undefined, GONE,
];

/** Every place in a value; of lists the first two items and the last. */
export function* placesOf(value, path = []) {
  if (path.length) yield path;
  if (typeof value !== "object" || value === null) return;
  const last = Array.isArray(value) ? value.length - 1 : 0;
  const names = Object.keys(value).filter((name) => !Array.isArray(value) || name < 2 || Number(name) === last);
  for (const name of names) yield* placesOf(value[name], [...path, name]);
}

/** A copy with another value there. */
export function withWrong(payload, path, wrong) {
  const copy = structuredClone(payload);
  const last = path.at(-1);
  const parent = path.slice(0, -1).reduce((value, name) => value[name], copy);
  if (wrong === GONE && !Array.isArray(parent)) delete parent[last];
  else parent[last] = wrong === GONE ? undefined : wrong;
  return copy;
}

/** What there is to see. */
function drawn(view) {
  const copy = view.element.cloneNode(true);
  copy.querySelectorAll("[hidden]").forEach((each) => each.remove());
  copy.querySelectorAll("g").forEach((each) => each.replaceChildren(...[...each.children].sort((one, other) => (one.outerHTML < other.outerHTML ? -1 : 1)))); // fills never overlap
  return copy.outerHTML.replace(/wanattn-colour-\d+| class=""/g, "");
}

/** A grid of a few cells has all the fields of a large one. */
function small(payload) {
  const grid = payload.grid?.map((each) => ({ ...each, blocks: 2, steps: 2, row: cut(each.row), ms: cut(each.ms) }));
  return grid ? { ...payload, grid } : payload;
}

function cut(lines) {
  return lines.slice(0, 2).map((line) => line.slice(0, 2));
}

function fresh(make) {
  const view = make();
  document.body.append(view.element);
  return view;
}

/**
 * What went wrong in all of it, as sentences, and how many cases there were. `told` makes what a view is given of a payload, `refuses`
 * says whether it is no payload to it: of these one is drawn for each field, since all that differs is the sentence.
 */
export function tryAll(given, make, refuses, told = (each) => each) {
  const payload = small(given);
  const used = fresh(make);
  used.update(told(payload));
  const good = drawn(used);
  const counts = { cases: 0, refused: 0, drawn: 0, faults: [] };
  for (const path of placesOf(payload)) {
    const before = counts.refused;
    for (const wrong of WRONG) {
      const changed = withWrong(payload, path, wrong);
      const refused = refuses(changed);
      counts.cases += 1;
      counts.refused += refused;
      if (refused && counts.refused > before + 1) continue;
      counts.drawn += 1;
      const where = `${path.join(".")} = ${JSON.stringify(wrong) ?? "gone"}`;
      const fault = faultOf(used, fresh(make), told(changed), refused);
      if (fault) counts.faults.push(`${where}: ${fault}`);
      used.update(told(payload));
      if (drawn(used) !== good) counts.faults.push(`${where}: the next good payload is drawn otherwise`);
    }
  }
  used.dispose();
  used.element.remove();
  return counts;
}

function faultOf(used, other, given, refused) {
  try {
    used.update(given);
    other.update(given);
    const text = used.element.textContent;
    const odd = text.match(refused ? /undefined|\[object/ : /NaN|undefined|\[object|Infinity/); // a sentence may name the number NaN
    if (odd) return `says ${odd[0]}`;
    if (refused !== text.includes("cannot be shown")) return refused ? "no sentence" : "refused, though it is no fault";
    if (refused && used.element.querySelector("svg.cells, td")) return "a sentence and half a panel";
    const kept = given.grid === null || given.grid === undefined; // an update may leave out the grid: the last one stays
    return kept || drawn(used) === drawn(other) ? "" : "is drawn otherwise after another payload";
  } catch (error) {
    return String(error);
  } finally {
    other.dispose();
    other.element.remove();
  }
}
