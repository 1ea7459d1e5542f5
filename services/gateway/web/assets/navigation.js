/** Navigation between addresses. It imports no view, so that every view can import it. The router picks the view. */

let show = () => Promise.resolve();

/** Registers the function that shows the current address. It runs after each change and returns a promise. */
export function onNavigation(listener) {
  show = listener;
}

/** Returns a new key for an entry of the history. */
export function entryKey() {
  // Not crypto.randomUUID, which browsers have over TLS and on localhost only.
  return Math.random().toString(36).slice(2);
}

/** Goes to an address of the storefront. */
export function go(href) {
  if (new URL(href, location.href).href === location.href) return Promise.resolve();
  history.pushState({ key: entryKey() }, "", href);
  return show();
}

/** Replaces the address without a new entry in the history and without redrawing. */
export function rewrite(href) {
  history.replaceState(history.state, "", href);
}
