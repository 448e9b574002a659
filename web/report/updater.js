// @ts-check
const SHARE = 20; // a drawing is followed by so many times its own length without one

/**
 * Draws the newest payload once a frame at most, a small part of the time at most, and only while there is something to see.
 * @template Payload
 * @param {HTMLElement} root @param {(payload: Payload) => void} draw
 */
export function createUpdater(root, draw) {
  /** @type {Payload | null} */
  let newest = null;
  let drawn = true;
  let frame = 0;
  let rest = 0;
  let timer = 0;

  function paint() {
    frame = 0;
    if (drawn || !newest || root.getClientRects().length === 0) return;
    const start = performance.now();
    drawn = true;
    draw(newest);
    rest = performance.now() + SHARE * (performance.now() - start);
  }

  function schedule() {
    const wait = rest - performance.now();
    if (wait > 0) timer ||= setTimeout(() => ((timer = 0), schedule()), wait);
    else frame ||= requestAnimationFrame(paint);
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
      clearTimeout(timer);
    },
  };
}
