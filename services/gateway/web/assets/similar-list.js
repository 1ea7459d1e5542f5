/** A list of similar products that the shopper can steer, with its explanation. */

import { catalogueColours } from "./colours.js";
import { announce, counted, h, icon, wasAborted } from "./dom.js";
import { UNSURE, degradedNotes, explanationOf, isOfEmptyCatalogue, searchedText } from "./insight.js";
import { emptyCatalogue, emptyState, errorState, grid, labelText, nameOf, picture, productCard, roundButton, skeletonGrid, twinsLast } from "./parts.js";
import { getProduct, leastUsualSimilarity } from "./api.js";
import { session } from "./session.js";

const LIMIT = 18;
const MAX_STEERING = 20;
const CURIOUS = "fashion.curious";
// A person's photograph is less similar to studio shots than these are to one another: by how much is measured in
// docs/evaluation/doubt.md.
const PHOTOGRAPHED = 0.75;

/**
 * Makes the list.
 *
 * @param {{
 *   ask: (query: [string, unknown][], token: string | undefined, signal: AbortSignal, where?: {everywhere: boolean}) => Promise<object>,
 *   answered?: (answer: object) => void,
 *   steering?: {liked: string[], disliked: string[]},
 *   steered?: (steering: {liked: string[], disliked: string[]}) => void,
 *   photographed?: boolean,
 *   signal: AbortSignal,
 * }} parts - `ask` sends the query, to the whole catalogue if `everywhere`, `answered` receives the result, `steered` the new likes and dislikes;
 *   `photographed` says that a person's photograph is compared.
 * @returns {{element: HTMLElement, wider: HTMLElement, refresh: () => Promise<void>}} `wider` holds products of other
 *   types where the searched ones have fewer than asked for.
 */
export function similarList({ ask, answered, steering = { liked: [], disliked: [] }, steered, photographed = false, signal }) {
  const known = new Map();
  const undone = [];
  let now = steering;
  let loading = null;
  let latest = null;

  const steerBar = h("div.steering");
  const results = h("div.results", {}, skeletonGrid(6));
  const notes = h("div.notes");
  const behind = h("div");
  const curious = h(
    "details.curious",
    { open: sessionStorage.getItem(CURIOUS) === "yes" },
    h("summary", {}, h("span", {}, "How this list came about")),
    behind,
  );
  const wider = h("section.wider", { hidden: true, aria: { label: "Of other types" } });
  const element = h("div.similar-list", {}, steerBar, notes, results, curious);
  const showCurious = () => {
    element.classList.toggle("is-curious", curious.open);
    if (latest) void drawBehind();
  };
  curious.addEventListener("toggle", () => {
    sessionStorage.setItem(CURIOUS, curious.open ? "yes" : "no");
    showCurious();
    // An explanation costs a second search, so only an open panel requests it.
    if (curious.open && latest && !latest.timings?.length) void refresh();
  });
  session.addEventListener("change", () => void refresh(), { signal });
  showCurious();

  async function refresh() {
    loading?.abort();
    const controller = new AbortController();
    loading = controller;
    const wanted = AbortSignal.any([signal, controller.signal]);
    results.setAttribute("aria-busy", "true");
    try {
      const { query, token } = await session.credentials();
      const steered = [...now.liked.map((id) => ["liked", id]), ...now.disliked.map((id) => ["disliked", id]), ...query];
      const [answer, least] = await Promise.all([
        ask([["limit", LIMIT], ["explain", curious.open], ...steered], token, wanted),
        leastUsualSimilarity(),
      ]);
      if (wanted.aborted) return;
      latest = answer;
      for (const { product } of answer.products) known.set(product.id, product);
      answered?.(answer);
      draw(answer, steered.length === query.length ? least : null);
      await Promise.all([widen(answer, steered, token, wanted), drawSteering()]);
      await drawBehind();
    } catch (error) {
      if (wasAborted(error) || wanted.aborted) return;
      latest = null;
      wider.hidden = true;
      notes.replaceChildren();
      behind.replaceChildren();
      results.replaceChildren(errorState(error, () => void refresh()));
    } finally {
      if (loading === controller) results.removeAttribute("aria-busy");
    }
  }

  /** Shows an answer; `least` is the similarity of what is really like it, null where nobody knows. */
  function draw(answer, least) {
    if (isOfEmptyCatalogue(answer)) {
      notes.replaceChildren();
      results.replaceChildren(emptyCatalogue());
      return;
    }
    // The page of a photograph says so where it offers types.
    notes.replaceChildren(...degradedNotes(answer.applied, [UNSURE]));
    if (least !== null && answer.products[0]?.similarity < (photographed ? PHOTOGRAPHED : 1) * least)
      notes.append(h("p.notice.nothing-like-it", {}, "Nothing here is really like it. These come closest."));
    if (answer.products.length === 0) {
      results.replaceChildren(emptyState("Nothing like it", `No other product is left to compare with. ${answer.applied.scope === "inventory" ? "Show more colours." : "Show more colours, or search the whole catalogue."}`));
      return;
    }
    results.replaceChildren(grid(cardsOf(answer.products), "Similar products"));
    announce(`${counted(answer.products.length, "similar product")}, ${searchedText(answer.applied)}`);
  }

  function cardsOf(products) {
    // Each shows the photograph that is the similar one.
    return twinsLast(products).map(({ product, image, similarity, variants }, index) =>
      productCard({ ...product, image: image ?? product.image }, { similarity, variants, eager: index < 6, actions: steered ? actionsOf(product) : [] }),
    );
  }

  /** Fills up from the whole catalogue, under a heading of its own, where the searched types have too few. */
  async function widen({ products, applied }, steering, token, wanted) {
    const types = applied.derived_types;
    wider.hidden = true;
    if (!types.length || products.length >= LIMIT) return;
    const query = [["limit", LIMIT - products.length], ...products.map(({ product }) => ["excluded", product.id]), ...steering];
    const answer = await ask(query, token, wanted, { everywhere: true });
    if (wanted.aborted || !answer.products.length) return;
    for (const { product } of answer.products) known.set(product.id, product);
    const few = `There ${products.length === 1 ? "is" : "are"} only ${counted(products.length, "product")} of ${types.map(labelText).join(", ")}.`;
    wider.replaceChildren(
      h("h2", {}, "Of other types"),
      h("p.faint", {}, `${few} These look most like it among all others.`),
      grid(cardsOf(answer.products), "Similar products of other types"),
    );
    wider.hidden = false;
  }

  function actionsOf(product) {
    const full = now.liked.length + now.disliked.length >= MAX_STEERING;
    return [
      roundButton("like", `More like ${nameOf(product)}`, { disabled: full, click: () => steer("liked", product.id) }),
      roundButton("less", `Less like ${nameOf(product)}`, { disabled: full, click: () => steer("disliked", product.id) }),
    ];
  }

  function steer(kind, id) {
    change({ ...now, [kind]: [...now[kind], id] });
    announce(kind === "liked" ? "Showing more like it" : "Showing less like it");
  }

  function change(next, { undoable = true } = {}) {
    if (undoable) undone.push(now);
    now = next;
    steered(now);
    void refresh().then(() => steerBar.querySelector("button")?.focus({ preventScroll: true }));
  }

  async function drawSteering() {
    const ids = [...now.liked, ...now.disliked];
    if (!ids.length && !undone.length) {
      steerBar.replaceChildren();
      return;
    }
    await Promise.all(
      ids.filter((id) => !known.has(id)).map((id) => getProduct(id, { signal }).then((product) => known.set(id, product), () => {})),
    );
    const one = (kind, id) => {
      const product = known.get(id) ?? { id, name: id, image: null };
      return h(
        "button.steer",
        {
          type: "button",
          data: { kind },
          title: `${kind === "liked" ? "More" : "Less"} like ${nameOf(product)}: remove`,
          aria: { label: `${kind === "liked" ? "More" : "Less"} like ${nameOf(product)}: remove` },
          on: { click: () => change({ ...now, [kind]: now[kind].filter((each) => each !== id) }) },
        },
        product.image ? picture(product, { sizes: "48px" }) : h("span.tile"),
        icon(kind === "liked" ? "plus" : "minus"),
      );
    };
    const buttons = [
      h("button.button.plain", { type: "button", disabled: !undone.length, on: { click: () => change(undone.pop(), { undoable: false }) } }, icon("undo"), "Undo"),
      ids.length ? h("button.link", { type: "button", on: { click: () => change({ liked: [], disliked: [] }) } }, "Start over") : null,
    ];
    steerBar.replaceChildren(
      h("div.steered", { role: "group", aria: { label: "What steers the list" } }, now.liked.map((id) => one("liked", id)), now.disliked.map((id) => one("disliked", id))),
      h("div.steer-buttons", {}, buttons),
    );
  }

  async function drawBehind() {
    if (!curious.open) return;
    const answer = latest;
    const colours = await catalogueColours().catch(() => []);
    if (answer === latest && answer) behind.replaceChildren(explanationOf(answer, colours));
  }

  return { element, wider, refresh };
}
