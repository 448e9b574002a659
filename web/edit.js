// @ts-check
/** @typedef {import("./views/commands.js").Told} Told */

import { putPromoted, takePromoted } from "./promoted.js";

/**
 * Changes of the whole workflow, each one step of undo: by the host's own way of going from one state to the next.
 * @param {{page: () => any, root: () => any}} host the page's extension manager, the outermost graph
 */
export function createEditor({ page, root }) {
  let edited = false; // only then is a load our doing, or its undoing
  /** @type {import("./promoted.js").Promoted[]} */
  let promoted = [];

  /** @param {(workflow: any) => Told | null} change */
  async function edit(change) {
    const tracker = page().workflow.activeWorkflow?.changeTracker;
    if (!tracker) return;
    if (tracker.captureCanvasState) tracker.captureCanvasState();
    else tracker.checkState();
    const before = JSON.stringify(tracker.activeState);
    const workflow = JSON.parse(before);
    const told = change(workflow);
    if (JSON.stringify(workflow) !== before) {
      edited = true;
      tracker.redoQueue.splice(0, Infinity, workflow);
      await tracker.redo();
      // What the host makes of it, such as sizes, belongs to the same step.
      tracker.activeState = JSON.parse(JSON.stringify(root().serialize()));
    }
    if (told) page().toast.add({ severity: told.severity, summary: "Wan Attention", detail: told.text, life: 6000 });
  }

  /** @param {any} workflow that the page is about to load; changed in place */
  function beforeLoad(workflow) {
    promoted = edited ? takePromoted(workflow) : [];
  }

  function afterLoad() {
    putPromoted(root(), promoted);
  }

  return { edit, beforeLoad, afterLoad };
}
