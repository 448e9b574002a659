// @ts-check
// What the page says in the user's language. The English words are the keys; sentences that the server makes stay English.

/** @type {{known: Record<string, string>}} */
const language = { known: {} };

/** @param {Record<string, string>} known English to the user's language; none for English */
export function speak(known) {
  language.known = known;
}

/** What is made for others, such as a report to paste into an issue, is in English. @template T @param {() => T} make @returns {T} */
export function inEnglish(make) {
  const { known } = language;
  language.known = {};
  try {
    return make();
  } finally {
    language.known = known;
  }
}

/** @param {string} english with {0}, {1} … where values go @param {(string | number)[]} values */
export function word(english, ...values) {
  const text = Object.hasOwn(language.known, english) ? language.known[english] : english;
  return text.replace(/\{(\d)\}/g, (_, position) => String(values[Number(position)] ?? ""));
}
