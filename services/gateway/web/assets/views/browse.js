/** The catalogue: a page of products and their filters. The address holds the whole state. */

import { catalogueFacets, listFacets, listProducts } from "../api.js";
import { catalogueColours, keepingFocus, paintOf } from "../colours.js";
import { announce, counted, h, icon, wasAborted } from "../dom.js";
import { addressOf, chips, facetGroups, filterText, filtersOf, withWords, wordsOf } from "../facets.js";
import { apart, emptyCatalogue, emptyState, errorState, grid, productCard, setTitle, skeletonGrid } from "../parts.js";
import { go } from "../navigation.js";
import { session } from "../session.js";

const PAGE_SIZE = 24;
const WALK_AT_MOST = 20;
const MAX_WORDS = 200;
const NONE_HAS_ALL = "No product has all that you have chosen.";
const ORDERS = { "": "Article no.", name: "Name", price: "Price, low to high", price_descending: "Price, high to low", newest: "Newest" };

// Groups that the shopper has opened stay open from page to page.
const memory = { open: new Map(), all: new Set() };
// Page tokens by filters and page number; the link to the previous page needs them.
const tokens = new Map();
let live = null;

/** Shows the list of the address. */
export async function show(outlet, { address, signal }) {
  setTitle();
  const heading = h("h1.unseen", { tabIndex: -1 }, "All products");
  const count = h("p.count");
  const chosen = h("div");
  // The newest filters, for what is typed or chosen meanwhile.
  let shown = { filters: [], order: "" };
  const change = (filters, order = shown.order) => void go(addressOf(filters, order));
  const words = h("input.search-words", { type: "search", name: "words", maxLength: MAX_WORDS, placeholder: "Search", aria: { label: "Search" }, autocomplete: "off" });
  const search = h(
    "form.search",
    {
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          change(withWords(shown.filters, words.value.trim()));
        },
        // The cross in the field.
        search: () => words.value || change(withWords(shown.filters, "")),
      },
    },
    words,
    h("button.quiet.square", { type: "submit", aria: { label: "Search" } }, icon("search")),
  );
  const order = h("select", { aria: { label: "Sort by" }, disabled: true, on: { change: () => change(shown.filters, order.value) } });
  const results = h("div.results", {}, skeletonGrid(12));
  const groups = h("div.facets");
  const sheet = h(
    "div.facet-sheet",
    {},
    h(
      "div.panel-head",
      {},
      h("h2", {}, "Filters"),
      h("button.quiet.square", { type: "button", aria: { label: "Close filters" }, on: { click: () => openSheet(false) } }, icon("close")),
    ),
    groups,
    h("button.button.sheet-done", { type: "button", on: { click: () => openSheet(false) } }, "Show products"),
  );
  const filterButton = h(
    "button.button.plain.filter-button",
    { type: "button", aria: { expanded: false }, on: { click: () => openSheet(true) } },
    icon("filter"),
    h("span", {}, "Filters"),
  );
  outlet.classList.add("browse");
  outlet.append(
    h("aside.sidebar", { aria: { label: "Filters" } }, sheet),
    h("section.listing", { aria: { label: "Products" } }, heading, search, h("div.list-head", {}, count, h("div.list-actions", {}, order, filterButton)), chosen, results),
  );
  sheet.addEventListener("keydown", (event) => event.key === "Escape" && openSheet(false));

  function openSheet(open) {
    sheet.classList.toggle("open", open);
    document.documentElement.classList.toggle("behind-sheet", open);
    filterButton.setAttribute("aria-expanded", String(open));
    if (open) sheet.querySelector("button").focus();
    else filterButton.focus();
  }
  signal.addEventListener("abort", () => document.documentElement.classList.remove("behind-sheet"));

  let loading = null;
  async function load(to, { quiet = false } = {}) {
    loading?.abort();
    const controller = new AbortController();
    loading = controller;
    const wanted = AbortSignal.any([signal, controller.signal]);
    results.setAttribute("aria-busy", "true");
    let filters = [];
    try {
      await session.ready();
      filters = await filtersOf(to.searchParams);
      if (wanted.aborted) return;
      const wantedOrder = orderOf(to);
      const hidden = [...new Set(session.disliked.flatMap((each) => each.covers))].sort();
      shown = { filters, order: wantedOrder };
      // Before, a choice would lose the filters of the address.
      order.disabled = false;
      const asked = [...filters, ...hidden.map((colour) => ["excluded_colour", colour])];
      const page = Math.max(1, Number.parseInt(to.searchParams.get("page") ?? "1", 10) || 1);
      const [products, facets, colours] = await Promise.all([
        productsOf(asked, wantedOrder, page, wanted),
        listFacets(asked, { signal: wanted }),
        catalogueColours().catch(() => []),
      ]);
      const none = products.total_count === 0 && (!asked.length || (await isCatalogueEmpty(wanted)));
      if (wanted.aborted) return;
      draw(products, facets, colours, { filters, order: wantedOrder, page: products.page, hidden, none });
      if (!quiet) announce(counted(products.total_count, "product"));
    } catch (error) {
      if (wasAborted(error) || wanted.aborted) return;
      count.textContent = "";
      if (error.reason === "PAGE_TOKEN_INVALID") tokens.clear();
      else if (error.status === 400 && filters.length && (await drawRefused(error, wanted))) return;
      results.replaceChildren(errorState(error, () => void load(to)));
    } finally {
      if (loading === controller) results.removeAttribute("aria-busy");
    }
  }

  /** Draws what surrounds the list: title, count, orders, groups of filters, and the chosen ones. */
  function drawChosen(products, facets, colours, total, { filters, order: by, page = 1 }) {
    setTitle(filters.map((each) => (each[0] === "words" ? each[1] : filterText(each))).join(", "), page > 1 && `Page ${page}`);
    if (document.activeElement !== words) words.value = wordsOf(filters);
    drawOrders(products, facets, by);
    count.textContent = counted(total, "product");
    filterButton.lastChild.textContent = filters.length ? `Filters (${filters.length})` : "Filters";
    keepingFocus(groups, () => groups.replaceChildren(...facetGroups(facets, filters, memory, change)));
    chosen.replaceChildren(...[chips(filters, (name) => paintOf(colours, name), change)].filter(Boolean));
  }

  function draw(products, facets, colours, { filters, order: by, page, hidden, none }) {
    drawChosen(products.products, facets.facets, colours, products.total_count, { filters, order: by, page });
    if (products.products.length === 0) {
      if (none) {
        results.replaceChildren(emptyCatalogue());
        return;
      }
      if (!filters.length) {
        results.replaceChildren(emptyState("Nothing here", "Every product has a colour that you leave out. Show one again under Colours."));
        return;
      }
      const masked = filters.some(([name, value]) => name === "base_colour" && hidden.includes(value));
      showNothing(masked ? "You asked for a colour that you leave out. Show it again under Colours." : NONE_HAS_ALL);
      return;
    }
    // A list that the shopper sorts stays as it is sorted.
    const listed = by ? products.products : apart(products.products);
    results.replaceChildren(
      grid(listed.map((product, index) => productCard(product, { eager: index < 8 })), "Products"),
      pager(filters, by, page, products.total_count),
    );
  }

  /**
   * Shows the filters of a request that was refused, for the shopper to remove some: to send it again would not help.
   * Returns whether it could.
   */
  async function drawRefused(error, wanted) {
    const [facets, colours, none] = await Promise.all([
      catalogueFacets().catch(() => null),
      catalogueColours().catch(() => []),
      isCatalogueEmpty(wanted).catch(() => false),
    ]);
    if (wanted.aborted) return true;
    if (!facets) return false;
    drawChosen([], facets, colours, 0, shown);
    if (none) {
      results.replaceChildren(emptyCatalogue());
      return true;
    }
    const gone = error.reason === "FILTER_VALUE_UNKNOWN";
    showNothing(gone ? NONE_HAS_ALL : "The address of this page has a filter that cannot be read.");
    return true;
  }

  function showNothing(text) {
    results.replaceChildren(emptyState("Nothing here", text, h("a.button", { href: "/" }, "Show all products")));
  }

  /** Offers the orders that make a difference: few catalogues have prices. */
  function drawOrders(products, facets, by) {
    const offered = { "": true, name: true, newest: facets.some(({ kind, values }) => kind === "year" && values.length > 1) };
    offered.price = offered.price_descending = products.some(({ price }) => price);
    const names = Object.keys(ORDERS).filter((name) => offered[name] || name === by);
    order.replaceChildren(...names.map((name) => h("option", { value: name, selected: name === by }, ORDERS[name])));
  }

  drawOrders([], [], orderOf(address));
  live = { load };
  signal.addEventListener("abort", () => (live = null));
  session.addEventListener("change", () => void load(new URL(location.href), { quiet: true }), { signal });
  await load(address, { quiet: true });
}

/** Updates the list to a new address. Open groups stay open, and the focus stays. */
export async function update({ address, back }) {
  const paging = address.searchParams.has("page");
  await live?.load(address);
  if (paging && !back) scrollTo(0, 0);
}

function orderOf(address) {
  const order = address.searchParams.get("order");
  return Object.hasOwn(ORDERS, order) ? order : "";
}

async function isCatalogueEmpty(signal) {
  return (await listProducts([], { pageSize: 1, signal })).total_count === 0;
}

async function productsOf(filters, order, page, signal) {
  const key = JSON.stringify([filters, order]);
  const tokenOf = (number) => (number === 1 ? "" : tokens.get(`${key} ${number}`));
  let at = page;
  while (tokenOf(at) === undefined && at > 1) at -= 1;
  // Each page holds the token of the next, so a deep link fetches the pages before it, unless they are many.
  if (page - at > WALK_AT_MOST) at = page = 1;
  for (;;) {
    const answer = await listProducts([...filters, ["order", order]], { pageSize: PAGE_SIZE, pageToken: tokenOf(at), signal });
    if (answer.next_page_token) tokens.set(`${key} ${at + 1}`, answer.next_page_token);
    if (at === page || !answer.next_page_token) return { ...answer, page: at };
    at += 1;
  }
}

function pager(filters, order, page, total) {
  const pages = Math.max(1, Math.ceil(total / PAGE_SIZE));
  if (pages === 1) return "";
  const to = (number) => addressOf(number === 1 ? filters : [...filters, ["page", String(number)]], order);
  const link = (number, label, name, shown) =>
    shown
      ? h("a.button.plain", { href: to(number), rel: name === "back" ? "prev" : "next" }, name === "back" ? icon(name) : null, label, name === "next" ? icon(name) : null)
      : h("span");
  return h(
    "nav.pager",
    { aria: { label: "Pages" } },
    link(page - 1, "Previous", "back", page > 1),
    h("span.faint", {}, `${page} of ${pages.toLocaleString("en")}`),
    link(page + 1, "Next", "next", page < pages),
  );
}
