// @ts-check
// The diagnostics node runs before the sampler, so its own output cannot hold the finished run; and a saved workflow
// should stay small. The tab's session storage outlives a reload and nothing else.

const PREFIX = "wanattn:";

/** @param {string} graph @param {string} node */
function keyOf(graph, node) {
  return `${PREFIX}${graph}:${node}`;
}

/** The last payload of each node of each workflow, through undo, switching of tabs and reload.
 * @param {() => Storage} storage asked for at every use: a browser may refuse it */
export function createStore(storage) {
  /** @type {Map<string, any>} */
  const latest = new Map();

  /** @param {string} graph @param {any} payload */
  function remember(graph, payload) {
    latest.set(keyOf(graph, String(payload.node)), payload);
  }

  /** Writes what a reload would lose. */
  function save() {
    for (const [key, payload] of latest) write(storage, key, JSON.stringify(payload));
  }

  /** @param {string} graph @param {string} node @returns {any} the payload, or null */
  function recall(graph, node) {
    const key = keyOf(graph, node);
    if (latest.has(key)) return latest.get(key);
    const payload = read(storage, key);
    return payload?.state === "running" ? { ...payload, state: "reloaded" } : payload;
  }

  return { remember, save, recall };
}

/** @param {() => Storage} storage @param {string} key */
function read(storage, key) {
  try {
    return JSON.parse(storage().getItem(key) ?? "null");
  } catch {
    return null; // private windows may refuse storage, and anything may have written there
  }
}

/** @param {() => Storage} storage @param {string} key @param {string} text */
function write(storage, key, text) {
  try {
    storage().setItem(key, text);
  } catch {
    return; // full or refused: a reload then shows an empty panel
  }
}
