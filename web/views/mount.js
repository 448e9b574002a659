// @ts-check
const TEXT_WIDGET = "$$node-text-preview";
const EVENTS = [["pointerdown", "processMouseDown"], ["pointermove", "processMouseMove"], ["pointerup", "processMouseUp"]];

const MANY = 16;
/** @type {Set<HTMLElement>} */
const mounted = new Set();

/** Puts a view on a node as a widget that is saved nowhere.
 * @param {any} node @param {HTMLElement} element @param {{least: number, width?: number, height?: number}} size @param {() => any} canvas */
export function mount(node, element, { least, width = 0, height = 0 }, canvas) {
  const options = { serialize: false, hideOnZoom: false, margin: 6, getMinHeight: () => least, getValue: () => "", setValue: () => {} };
  const widget = node.addDOMWidget("wanattn", "wanattn_panel", element, options);
  widget.serialize = false;
  hideInCrowds(widget.options);
  mounted.add(element);
  chain(node, "onRemoved", () => mounted.delete(element));
  letCanvasHave(element, canvas);
  nameAfter(node, element);
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

/** Far out a few panels still show their colours; many of them would halve the frames for what nobody can read. @param {any} options */
function hideInCrowds(options) {
  Object.defineProperty(options, "hideOnZoom", { get: () => mounted.size > MANY, enumerable: true, configurable: true });
}

/** @param {any} node @param {string} event @param {(...values: any[]) => void} listener */
export function chain(node, event, listener) {
  const previous = node[event];
  node[event] = (/** @type {any[]} */ ...values) => {
    listener(...values);
    return previous?.apply(node, values);
  };
}

/** @param {any} node @param {HTMLElement} element can have the focus, so it has a name: its node's. */
function nameAfter(node, element) {
  const name = () => element.setAttribute("aria-label", String(node.title ?? node.type));
  element.setAttribute("role", "group");
  element.addEventListener("focusin", name);
  name();
}

/** Panning and zooming go on working over the panel. @param {HTMLElement} element @param {() => any} canvas */
function letCanvasHave(element, canvas) {
  element.tabIndex = 0; // with the focus inside, the host leaves the wheel to the panel
  element.dataset.captureWheel = "true";
  element.addEventListener("wheel", (event) => {
    const scrolls = !event.ctrlKey && element.scrollHeight > element.clientHeight;
    if (scrolls) return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
    canvas()?.processMouseWheel?.(event);
  }, { passive: false });
  for (const [type, method] of EVENTS) {
    element.addEventListener(type, (event) => {
      const pointer = /** @type {PointerEvent} */ (event);
      if (pointer.button === 1 || pointer.buttons & 4) canvas()?.[method]?.(pointer);
    });
  }
}

/** The host's line of text would take half of the node to say what the panel says. @param {any} node */
export function hideHostText(node) {
  const widget = node.widgets?.find((/** @type {any} */ each) => each.name === TEXT_WIDGET);
  if (!widget || widget.hidden) return;
  widget.hidden = true;
  widget.options.hidden = true;
  const text = widget.value; // Nodes 2.0 looks again at what is hidden when a value changes
  widget.value = "";
  setTimeout(() => (widget.value ||= text));
}
