/** Goes from address to address. It knows no view, so that every view may use it; the router says what an address shows. */

let show = () => Promise.resolve();

/** Registers what shows the address; it is called after every change of it and returns a promise. */
export function onNavigation(listener) {
  show = listener;
}

/** Goes to an address of the storefront. */
export function go(href) {
  if (new URL(href, location.href).href === location.href) return Promise.resolve();
  history.pushState({ key: crypto.randomUUID() }, "", href);
  return show();
}

/** Changes the address without a new page in the history, and without showing anything anew. */
export function rewrite(href) {
  history.replaceState(history.state, "", href);
}
