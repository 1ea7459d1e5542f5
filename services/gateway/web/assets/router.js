/** The router: maps addresses to views, follows links without reloading, goes back and forward. */

import { ApiError } from "./api.js";
import { h } from "./dom.js";
import { entryKey, go, onNavigation } from "./navigation.js";
import { emptyState, errorState, setTitle } from "./parts.js";

const VIEWS = [
  [/^\/$/, () => import("./views/browse.js")],
  [/^\/p\/([^/]+)\/?$/, () => import("./views/product.js")],
  [/^\/photo\/?$/, () => import("./views/photograph.js")],
  [/^\/inspect\/?$/, () => import("./views/inspect.js")],
  [/^\/map\/?$/, () => import("./views/map.js")],
];

// The gateway answers with the storefront at any path where nothing is.
const NOT_FOUND = [/^/, async () => ({ show: showNotFound })];

let current = null;
let outlet = null;
const scrolled = new Map();
// Views that could not be loaded.
const failed = new Set();

/** Shows the view of the address, now and after each change. */
export function start(element) {
  outlet = element;
  onNavigation(() => show({}));
  history.scrollRestoration = "manual";
  if (!history.state?.key) history.replaceState({ key: entryKey() }, "");
  document.addEventListener("click", followLink);
  addEventListener("popstate", () => void show({ back: true }));
  // Recorded on every scroll: at popstate the page has already scrolled.
  addEventListener("scroll", () => history.state?.key && scrolled.set(history.state.key, scrollY), { passive: true });
  return show({});
}

function followLink(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
  if (!VIEWS.some(([pattern]) => pattern.test(link.pathname))) return;
  // The browser handles a jump within the page.
  if (link.hash && link.pathname === location.pathname && link.search === location.search) return;
  event.preventDefault();
  void go(link.href);
}

async function show({ back = false }) {
  const address = new URL(location.href);
  const key = history.state?.key;
  const [pattern, load] = VIEWS.find(([each]) => each.test(address.pathname)) ?? NOT_FOUND;
  const parameters = pattern.exec(address.pathname)?.slice(1).map(decoded) ?? [];
  let view;
  try {
    view = await load();
  } catch {
    if (location.href !== address.href) return;
    // Loaded once before without success: what the browser remembers of that, only a new page forgets.
    if (failed.has(load) && (await startedAgain())) return;
    failed.add(load);
    if (location.href === address.href) showFailure(address);
    return;
  }
  if (location.href !== address.href) return;
  const top = back ? (scrolled.get(key) ?? 0) : 0;
  if (current?.view === view && view.update) {
    markLinks(address);
    await view.update({ address, back });
    if (back) scrollTo(0, top);
    return;
  }
  leave();
  const controller = new AbortController();
  current = { view, controller };
  markLinks(address);
  scrollTo(0, 0);
  await view.show(outlet, { address, parameters, signal: controller.signal });
  if (controller.signal.aborted) return;
  // Only after the view is drawn. Nothing is restored at 0: the shopper may have scrolled meanwhile.
  if (top > 0) scrollTo(0, top);
  if (!firstShown) outlet.querySelector("h1")?.focus({ preventScroll: true });
  firstShown = false;
}

function showNotFound(element) {
  setTitle("Not found");
  element.replaceChildren(emptyState("There is no such page", "The address may be wrong, or the page is gone.", h("a.button", { href: "/" }, "Show all products")));
}

/** Says that a view could not be loaded. */
function showFailure(address) {
  leave();
  markLinks(address);
  scrollTo(0, 0);
  setTitle();
  outlet.replaceChildren(errorState(new ApiError("This page could not be loaded.", { offline: true }), () => void show({})));
}

/** Loads the whole page again where the shop can be reached, and returns whether it does. */
async function startedAgain() {
  const reached = await fetch(location.href, { cache: "no-store" }).then(({ ok }) => ok, () => false);
  if (reached) location.reload();
  return reached;
}

/** Ends the view that is shown. */
function leave() {
  current?.controller.abort();
  current = null;
  outlet.replaceChildren();
  outlet.className = "";
}

// A first visit starts at the top. After a link, screen readers announce the new page.
let firstShown = true;

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function markLinks(address) {
  for (const link of document.querySelectorAll("[data-nav]")) {
    const here = link.pathname === address.pathname;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
