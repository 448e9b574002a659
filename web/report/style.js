// @ts-check
import { CSS } from "./css.js";

const ID = "wanattn-style";

/** Adds the pack's rules to the page, once. */
export function installStyle() {
  if (document.getElementById(ID)) return;
  const style = document.createElement("style");
  style.id = ID;
  style.textContent = CSS;
  document.head.append(style);
}

/** How light a colour is, 0 to 1, in whatever notation it is written. @param {string} colour */
function lightness(colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  if (!context) return 0;
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}

/**
 * Keeps data-tone (dark or light) right for the panel's background, whatever palette the host shows.
 * @param {HTMLElement} root @returns {() => void} stops watching
 */
export function watchTone(root) {
  let seen = "";
  const look = () => {
    if (!root.isConnected) return;
    const background = getComputedStyle(root).backgroundColor;
    if (background === seen) return;
    seen = background;
    root.dataset.tone = lightness(background) > 0.5 ? "light" : "dark";
  };
  const soon = () => requestAnimationFrame(look); // the host sets its variables one after another
  const changes = new MutationObserver(soon);
  const sizes = new ResizeObserver(look);
  const system = matchMedia("(prefers-color-scheme: light)");
  for (const target of [document.documentElement, document.body]) {
    changes.observe(target, { attributes: true, attributeFilter: ["class", "style"] });
  }
  sizes.observe(root);
  system.addEventListener("change", soon);
  return () => {
    changes.disconnect();
    sizes.disconnect();
    system.removeEventListener("change", soon);
  };
}
