/** Builds elements. Text is always text, never markup: names of products come from retailers. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 *
 * @param {string} tag - "div", or "div.card.wide" with classes.
 * @param {object} [properties] - DOM properties; `on` holds listeners, `data` and `aria` attributes of these kinds, `role`
 *   and `part` are attributes; null and undefined are left out.
 * @param {...(Node|string|number|null|false)} children - nodes and text; null and false are left out.
 */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.classList.add(...classes);
  const { on = {}, data = {}, aria = {}, role, style = {}, ...rest } = properties;
  if (role) element.setAttribute("role", role);
  for (const [key, value] of Object.entries(aria)) if (value != null) element.setAttribute(`aria-${key}`, String(value));
  for (const [key, value] of Object.entries(data)) if (value != null) element.dataset[key] = String(value);
  // Set through the object model, because the Content-Security-Policy forbids style attributes.
  for (const [key, value] of Object.entries(style)) if (value != null) element.style.setProperty(key, String(value));
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [key, value] of Object.entries(rest)) if (value != null) element[key] = value;
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Makes one of the icons below, 20 pixels wide. Screen readers skip it and read the name of its parent. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// Paths on a grid of 24 by 24.
const ICONS = {
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  browse: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  camera: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 16.5a3.5 3.5 0 100-7 3.5 3.5 0 000 7z",
  close: "M6 6l12 12M18 6L6 18",
  crop: "M7 3v14h14M3 7h14v14",
  colours: "M12 3.5c-2.6 3.4-6 6.6-6 10.3a6 6 0 0012 0c0-3.7-3.4-6.9-6-10.3zM9 14.5a3 3 0 003 3",
  filter: "M4 7h16M7 12h10M10 17h4",
  inspect: "M4 19V11M10 19V5M16 19v-6M21 19H3",
  less: "M7 4.5v9.5l3.5 6c1.6 0 2.3-1 2.3-2.5L12.5 14h5.3a2 2 0 001.9-2.5l-1.5-5.5a2 2 0 00-1.9-1.5zM3.5 4.5v9.5",
  like: "M12 19.5C7 16 4 13 4 9.3A4.2 4.2 0 0112 7.5a4.2 4.2 0 018 1.8c0 3.7-3 6.7-8 10.2z",
  map: "M6 17.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM11 8.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM17 12.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3zM15 19.5a1.5 1.5 0 100-3 1.5 1.5 0 000 3z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  external: "M9 5H5v14h14v-4M13 5h6v6M19 5l-9 9",
  search: "M10.5 17a6.5 6.5 0 100-13 6.5 6.5 0 000 13zM15.5 15.5L20 20",
  undo: "M8 5L4 9l4 4M4 9h9.5a5.5 5.5 0 010 11H9",
  upload: "M12 15V4M7.5 8L12 3.5 16.5 8M4 15v5h16v-5",
};

/** Whether the shopper points with a mouse, and so can hover, drag and drop. */
export const POINTS_WITH_MOUSE = matchMedia("(hover: hover) and (pointer: fine)").matches;

/** Announces a text to screen readers. */
export function announce(text) {
  const live = document.getElementById("announcements");
  if (live) live.textContent = text;
}

/** Returns "1 product", "2 products". */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Delays a function until it has not been called for a while. */
export function debounced(wait_ms, call) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...values), wait_ms);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Returns whether an error is the abort of a request that is no longer needed. */
export function wasAborted(error) {
  return error?.name === "AbortError";
}
