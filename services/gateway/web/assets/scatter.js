/** A scatter plot on a canvas: zoom and pan by wheel, pointer, touch and keyboard, and a current point. */

import { h } from "./dom.js";

const NEAR_PX = 18;
const MARGIN_PX = 28;
const ZOOM_AT_MOST = 60;
const ZOOM_STEP = 1.35;
const TAP_PX = 6;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Draws points.
 *
 * @param {{x: number, y: number}[]} points - in 0..1, y upwards.
 * @param {{
 *   label: string,
 *   paint: (index: number) => {fill: string, faint: boolean},
 *   looked: (index: number | null, x: number, y: number) => void,
 *   opened: (index: number) => void,
 *   signal: AbortSignal,
 * }} parts - `looked` is told the point under the pointer or the keyboard's, with its place in pixels.
 * @returns {{canvas: HTMLCanvasElement, redraw: () => void, zoom: (factor: number) => void, reset: () => void}}
 */
export function scatter(points, { label, paint, looked, opened, signal }) {
  const canvas = h("canvas", { tabIndex: 0, role: "application", aria: { label } });
  const pen = canvas.getContext("2d");
  const fingers = new Map();
  let view = { scale: 1, x: 0, y: 0 };
  let size = { width: 0, height: 0 };
  let current = null;
  let travelled = 0;
  let frame = 0;

  const resized = new ResizeObserver(() => {
    const ratio = devicePixelRatio || 1;
    size = { width: canvas.clientWidth, height: canvas.clientHeight };
    canvas.width = Math.round(size.width * ratio);
    canvas.height = Math.round(size.height * ratio);
    redraw();
  });
  resized.observe(canvas);
  signal.addEventListener("abort", () => resized.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });

  const place = (index) => {
    const side = Math.min(size.width, size.height) - 2 * MARGIN_PX;
    const { x, y } = points[index];
    return [
      size.width / 2 + ((x - 0.5) * side + view.x) * view.scale,
      size.height / 2 + ((0.5 - y) * side + view.y) * view.scale,
    ];
  };

  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  function draw() {
    frame = 0;
    const ratio = devicePixelRatio || 1;
    const style = getComputedStyle(canvas);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, size.width, size.height);
    const radius = Math.min(9, (points.length > 1500 ? 2.6 : 4.2) * Math.sqrt(view.scale));
    pen.strokeStyle = style.getPropertyValue("--raised");
    for (const faint of [true, false]) {
      pen.globalAlpha = faint ? 0.12 : 0.92;
      for (let index = 0; index < points.length; index += 1) {
        const { fill, faint: isFaint } = paint(index);
        if (isFaint !== faint) continue;
        const [x, y] = place(index);
        if (x < -9 || y < -9 || x > size.width + 9 || y > size.height + 9) continue;
        dot(x, y, radius, fill);
        if (radius > 3.5) pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    if (current !== null) {
      const [x, y] = place(current);
      dot(x, y, radius + 3, paint(current).fill);
      pen.strokeStyle = style.getPropertyValue("--ink");
      pen.lineWidth = 2;
      pen.stroke();
      pen.lineWidth = 1;
    }
  }

  function dot(x, y, radius, fill) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
  }

  function look(index) {
    if (index === current && index === null) return;
    current = index;
    if (index === null) looked(null, 0, 0);
    else looked(index, ...place(index));
    redraw();
  }

  function nearest(x, y, wanted = () => true, reach = NEAR_PX) {
    let best = null;
    let least = reach * reach;
    for (let index = 0; index < points.length; index += 1) {
      if (!wanted(index)) continue;
      const [px, py] = place(index);
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [index, distance];
    }
    return best;
  }

  function zoomAt(factor, x, y) {
    const scale = Math.min(ZOOM_AT_MOST, Math.max(1, view.scale * factor));
    // The point under the pointer stays in place.
    const [dx, dy] = [x - size.width / 2, y - size.height / 2];
    view = { scale, x: view.x + dx / scale - dx / view.scale, y: view.y + dy / scale - dy / view.scale };
    hold();
  }

  function panBy(dx, dy) {
    view = { ...view, x: view.x + dx / view.scale, y: view.y + dy / view.scale };
    hold();
  }

  function hold() {
    const far = Math.max(size.width, size.height) / 2;
    view.x = Math.min(far, Math.max(-far, view.x));
    view.y = Math.min(far, Math.max(-far, view.y));
    if (view.scale === 1) view = { scale: 1, x: 0, y: 0 };
    if (current !== null) looked(current, ...place(current));
    redraw();
  }

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoomAt(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
      look(nearest(event.offsetX, event.offsetY));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    travelled = fingers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) {
      look(nearest(event.offsetX, event.offsetY));
      return;
    }
    const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
    const pinched = fingers.size === 2 ? betweenFingers() : null;
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    travelled += Math.hypot(dx, dy);
    if (fingers.size === 1 && travelled > TAP_PX) panBy(dx, dy);
    if (pinched) {
      const { apart, x, y } = betweenFingers();
      zoomAt(apart / pinched.apart, x, y);
    }
  });
  const lifted = (event) => {
    if (!fingers.delete(event.pointerId) || event.type !== "pointerup" || travelled > TAP_PX) return;
    const index = nearest(event.offsetX, event.offsetY);
    // Touch has no hover: the first tap shows a product, the second opens it.
    if (index !== null && (event.pointerType === "mouse" || index === current)) opened(index);
    else look(index);
  };
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && !fingers.size && look(null));
  canvas.addEventListener("blur", () => look(null));
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = DIRECTIONS[event.key];
    if (direction) step(...direction);
    else if (event.key === "+" || event.key === "=") zoomAt(ZOOM_STEP, ...middle());
    else if (event.key === "-") zoomAt(1 / ZOOM_STEP, ...middle());
    else if (event.key === "0") reset();
    else if (event.key === "Enter" && current !== null) opened(current);
    else if (event.key === "Escape" && current !== null) look(null);
    else return;
    event.preventDefault();
  });

  function betweenFingers() {
    const [[ax, ay], [bx, by]] = fingers.values();
    return { apart: Math.max(1, Math.hypot(ax - bx, ay - by)), x: (ax + bx) / 2, y: (ay + by) / 2 };
  }

  function middle() {
    return current === null ? [size.width / 2, size.height / 2] : place(current);
  }

  function step(right, down) {
    const [x, y] = middle();
    if (current === null) {
      look(nearest(x, y, undefined, Infinity));
    } else {
      // Within 45 degrees of the arrow.
      const ahead = (index) => {
        const [px, py] = place(index);
        const along = (px - x) * right + (py - y) * down;
        return index !== current && along > 0 && Math.abs((px - x) * down) + Math.abs((py - y) * right) <= along;
      };
      const next = nearest(x, y, ahead, Infinity);
      if (next !== null) look(next);
    }
    if (current === null) return;
    const [px, py] = place(current);
    const outside = (at, long) => (at < MARGIN_PX ? MARGIN_PX - at : at > long - MARGIN_PX ? long - MARGIN_PX - at : 0);
    panBy(outside(px, size.width), outside(py, size.height));
  }

  function reset() {
    view = { scale: 1, x: 0, y: 0 };
    hold();
  }

  return { canvas, redraw, reset, zoom: (factor) => zoomAt(factor, ...middle()) };
}
