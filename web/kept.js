// @ts-check
// What a browser's session cannot keep: the last ended run of a workflow, for another browser or another day. It lies in the
// host's own user data; a setting names the workflows that have some, so that no file is asked for that is not there.

const MOST_WORKFLOWS = 30;

/**
 * @param {{read: (name: string) => Promise<any>, write: (name: string, data: any) => Promise<void>,
 *   known: () => string[], note: (ids: string[]) => Promise<void>}} host
 */
export function createKept({ read, write, known, note }) {
  /** @param {string} workflow */
  const nameOf = (workflow) => `wanattn/${workflow.replace(/[^\w-]/g, "_")}.json`;

  /** @param {string} workflow @param {any[]} payloads the newest of each node */
  async function keep(workflow, payloads) {
    if (!workflow || !payloads.length) return;
    await write(nameOf(workflow), { payloads });
    await note([workflow, ...known().filter((id) => id !== workflow)].slice(0, MOST_WORKFLOWS));
  }

  /** @param {string} workflow @returns {Promise<any[]>} */
  async function recall(workflow) {
    if (!known().includes(workflow)) return [];
    const kept = await read(nameOf(workflow));
    return Array.isArray(kept?.payloads) ? kept.payloads : [];
  }

  return { keep, recall };
}
