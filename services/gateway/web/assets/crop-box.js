/** The box around the garment in a photograph, for pointer, touch and keyboard. */

import { debounced, h } from "./dom.js";

// Shares of the photograph.
const SMALLEST = 0.08;
const STEP = 0.01;
const LARGE_STEP = 0.05;
// While a key is held down, only the last position matters.
const SETTLE_MS = 350;

export const WHOLE = Object.freeze({ left: 0, top: 0, right: 1, bottom: 1 });

// The edges that each handle moves, and its position.
const HANDLES = [
  ["nw", "Top left corner", ["left", "top"]],
  ["ne", "Top right corner", ["right", "top"]],
  ["se", "Bottom right corner", ["right", "bottom"]],
  ["sw", "Bottom left corner", ["left", "bottom"]],
  ["n", "", ["top"]],
  ["e", "", ["right"]],
  ["s", "", ["bottom"]],
  ["w", "", ["left"]],
];

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Returns whether a box is the whole photograph. */
export function isWhole(box) {
  return box.left <= 0 && box.top <= 0 && box.right >= 1 && box.bottom >= 1;
}

/** Returns a box in the gateway's notation: left,top,right,bottom. */
export function regionText(box) {
  return [box.left, box.top, box.right, box.bottom].map((share) => share.toFixed(4)).join(",");
}

/** Returns the box of a region in the gateway's notation. */
export function boxOf(region) {
  const [left, top, right, bottom] = region.split(",").map(Number);
  return { left, top, right, bottom };
}

/**
 * Lays the box over a canvas.
 *
 * @param {HTMLCanvasElement} canvas - shows the photograph.
 * @param {{left: number, top: number, right: number, bottom: number}} start - shares of it.
 * @param {(box: object) => void} changed - called once the box has come to rest.
 * @returns {{element: HTMLElement, set: (box: object) => void}}
 */
export function cropBox(canvas, start, changed) {
  let box = { ...start };
  const settle = debounced(SETTLE_MS, () => changed(box));
  const status = h("span.unseen", { role: "status" });
  const handles = HANDLES.map(([edge, label, moves]) => handle(edge, label, moves));
  const area = h(
    "div.crop-box",
    {
      tabIndex: 0,
      role: "group",
      aria: { label: "Part of the photograph that is searched. Arrow keys move it, its corners resize it; Shift for large steps." },
      on: { keydown: (event) => byKey(event, ["left", "top", "right", "bottom"]), pointerdown: (event) => drag(event, ["left", "top", "right", "bottom"]) },
    },
    handles,
  );
  const hole = h("span");
  const element = h("div.crop", {}, canvas, h("div.crop-frame", { aria: { hidden: true } }, hole), area, status);
  draw();
  return {
    element,
    set(next) {
      box = { ...next };
      draw();
      settle.cancel();
      changed(box);
    },
  };

  function handle(edge, label, moves) {
    const at = { "--x": edge.includes("w") ? "0%" : edge.includes("e") ? "100%" : "50%", "--y": edge.includes("n") ? "0%" : edge.includes("s") ? "100%" : "50%" };
    const on = { pointerdown: (event) => drag(event, moves) };
    // Only pointers need the edges: the corners move every edge.
    if (!label) return h("span.crop-handle", { data: { edge }, style: at, on });
    return h("button.crop-handle", { type: "button", data: { edge }, style: at, aria: { label }, on: { ...on, keydown: (event) => byKey(event, moves) } });
  }

  function byKey(event, moves) {
    const arrow = ARROWS[event.key];
    if (!arrow || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const step = event.shiftKey ? LARGE_STEP : STEP;
    box = moved(box, arrow[0] * step, arrow[1] * step, moves);
    draw();
    settle();
    status.textContent = spoken(box);
  }

  function drag(event, moves) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const target = event.currentTarget;
    target.focus?.({ preventScroll: true });
    target.setPointerCapture(event.pointerId);
    const from = { ...box };
    const frame = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX, event.clientY];
    const move = (next) => {
      box = moved(from, (next.clientX - x) / frame.width, (next.clientY - y) / frame.height, moves);
      draw();
    };
    const end = () => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
      settle.cancel();
      if (regionText(box) !== regionText(from)) changed(box);
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  }

  function draw() {
    for (const each of [area, hole]) {
      each.style.setProperty("--left", `${box.left * 100}%`);
      each.style.setProperty("--top", `${box.top * 100}%`);
      each.style.setProperty("--width", `${(box.right - box.left) * 100}%`);
      each.style.setProperty("--height", `${(box.bottom - box.top) * 100}%`);
    }
  }
}

/** Moves some edges of a box, and keeps it within the photograph and large enough to see. */
export function moved(box, dx, dy, edges) {
  const next = { ...box };
  if (edges.length === 4) {
    const right = clamp(dx, -box.left, 1 - box.right);
    const down = clamp(dy, -box.top, 1 - box.bottom);
    return { left: box.left + right, right: box.right + right, top: box.top + down, bottom: box.bottom + down };
  }
  if (edges.includes("left")) next.left = clamp(box.left + dx, 0, box.right - SMALLEST);
  if (edges.includes("right")) next.right = clamp(box.right + dx, box.left + SMALLEST, 1);
  if (edges.includes("top")) next.top = clamp(box.top + dy, 0, box.bottom - SMALLEST);
  if (edges.includes("bottom")) next.bottom = clamp(box.bottom + dy, box.top + SMALLEST, 1);
  return next;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function spoken(box) {
  const percent = (share) => Math.round(share * 100);
  return `From ${percent(box.left)} to ${percent(box.right)} percent across, ${percent(box.top)} to ${percent(box.bottom)} percent down`;
}
