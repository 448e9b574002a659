// @ts-check
/**
 * Draws the newest payload once a frame at most, and only while there is something to see.
 * @template Payload
 * @param {HTMLElement} root @param {(payload: Payload) => void} draw
 */
export function createUpdater(root, draw) {
  /** @type {Payload | null} */
  let newest = null;
  let drawn = true;
  let frame = 0;

  function paint() {
    frame = 0;
    if (drawn || !newest || root.getClientRects().length === 0) return;
    drawn = true;
    draw(newest);
  }

  function schedule() {
    frame ||= requestAnimationFrame(paint);
  }

  const observer = new ResizeObserver(schedule); // the host hides and detaches nodes that are off the screen
  observer.observe(root);

  return {
    /** @param {Payload} payload */
    update(payload) {
      newest = payload;
      drawn = false;
      schedule();
    },
    latest: () => newest,
    dispose() {
      observer.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}
