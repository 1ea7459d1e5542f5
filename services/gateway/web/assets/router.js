/** The router: maps addresses to views, follows links without reloading, goes back and forward. */

import { entryKey, go, onNavigation } from "./navigation.js";

const VIEWS = [
  [/^\/$/, () => import("./views/browse.js")],
  [/^\/p\/([^/]+)\/?$/, () => import("./views/product.js")],
  [/^\/photo\/?$/, () => import("./views/photograph.js")],
  [/^\/inspect\/?$/, () => import("./views/inspect.js")],
  [/^\/map\/?$/, () => import("./views/map.js")],
];

let current = null;
let outlet = null;
const scrolled = new Map();

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
  const [pattern, load] = VIEWS.find(([each]) => each.test(address.pathname)) ?? VIEWS[0];
  const parameters = pattern.exec(address.pathname)?.slice(1).map(decoded) ?? [];
  const view = await load();
  if (location.href !== address.href) return;
  const top = back ? (scrolled.get(key) ?? 0) : 0;
  if (current?.view === view && view.update) {
    markLinks(address);
    await view.update({ address, back });
    if (back) scrollTo(0, top);
    return;
  }
  current?.controller.abort();
  const controller = new AbortController();
  current = { view, controller };
  outlet.replaceChildren();
  outlet.className = "";
  markLinks(address);
  scrollTo(0, 0);
  await view.show(outlet, { address, parameters, signal: controller.signal });
  if (controller.signal.aborted) return;
  // Only after the view is drawn. Nothing is restored at 0: the shopper may have scrolled meanwhile.
  if (top > 0) scrollTo(0, top);
  if (!firstShown) outlet.querySelector("h1")?.focus({ preventScroll: true });
  firstShown = false;
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
