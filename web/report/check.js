// @ts-check
// What comes from outside is checked before any of it is drawn: what is half right would be half drawn.
/** @typedef {{path: string, told: string}} Fault where in a value, and what is wrong there */
/** @typedef {(value: unknown) => Fault | null} Check */

const MOST = Number.MAX_SAFE_INTEGER;

/** @param {unknown} value @param {string} needs */
const wrong = (value, needs) => ({ path: "", told: `is ${nameOf(value)}, needs ${needs}` });

/** @param {unknown} value */
function nameOf(value) {
  if (value === undefined) return "missing";
  if (value === null) return "empty";
  if (Array.isArray(value)) return "a list";
  const names = { string: "text", number: `the number ${value}`, boolean: String(value), object: "a table" };
  return names[/** @type {"string"} */ (typeof value)] ?? typeof value;
}

/** @type {Check} */
export const text = (value) => (typeof value === "string" ? null : wrong(value, "text"));
/** @type {Check} */
export const number = (value) => (Number.isFinite(value) ? null : wrong(value, "a number"));
/** @type {Check} */
export const amount = (value) => (/** @type {number} */ (value) >= 0 && /** @type {number} */ (value) <= MOST && number(value) === null ? null : wrong(value, "a number from 0 that can be counted"));
/** @type {Check} */
export const positive = (value) => (Number.isInteger(value) && /** @type {number} */ (value) > 0 ? null : wrong(value, "a whole number from 1"));
/** @type {Check} */
export const whether = (value) => (typeof value === "boolean" ? null : wrong(value, "true or false"));

/** @param {Check} check @returns {Check} null will do as well */
export const orNull = (check) => (value) => (value === null ? null : check(value));

/** @param {Check} check @returns {Check} */
const orMissing = (check) => (value) => (value === undefined ? null : check(value));

/** @param {Check[]} checks @param {string} needs @returns {Check} */
export const oneOf = (checks, needs) => (value) => (checks.some((check) => !check(value)) ? null : wrong(value, needs));

/** @param {Check} check of every item @returns {Check} */
export function listOf(check) {
  return (value) => {
    if (!Array.isArray(value)) return wrong(value, "a list");
    for (let index = 0; index < value.length; index += 1) {
      const fault = check(value[index]);
      if (fault) return inside(`[${index}]`, fault);
    }
    return null;
  };
}

/** @param {Check} check of every value, whatever its name @returns {Check} */
export function tableOf(check) {
  return (value) => {
    if (!isTable(value)) return wrong(value, "a table");
    for (const name of Object.keys(value)) {
      const fault = check(value[name]);
      if (fault) return inside(`.${name}`, fault);
    }
    return null;
  };
}

/** @param {Record<string, Check>} needed @param {Record<string, Check>} [also] may be missing @returns {Check} unknown names are let be */
export function table(needed, also = {}) {
  const optional = Object.entries(also).map(([name, check]) => /** @type {const} */ ([name, orMissing(check)]));
  const parts = [...Object.entries(needed), ...optional];
  return (value) => {
    if (!isTable(value)) return wrong(value, "a table");
    for (const [name, check] of parts) {
      const fault = check(value[name]);
      if (fault) return inside(`.${name}`, fault);
    }
    return null;
  };
}

/** The first fault as a sentence, or "". @param {Check} check @param {unknown} value */
export function faultIn(check, value) {
  const fault = check(value);
  return fault ? `${fault.path.replace(/^\./, "") || "it"} ${fault.told}` : "";
}

/** @param {string} step @param {Fault} fault @returns {Fault} */
function inside(step, { path, told }) {
  return { path: `${step}${path}`, told };
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
