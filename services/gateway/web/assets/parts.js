/** Parts that several pages share: product cards, grids, and their states while loading, empty or failed. */

import { pictureOf } from "./api.js";
import { h, icon } from "./dom.js";

// Other colours that a card links; it counts all.
const MAX_DOTS = 4;

const IS_PRICE_RANGE = /^[\d.]*\.\.[\d.]* ?[A-Z]{3}$/;

// Words of catalogues that people write otherwise.
const WORDS = { Tshirt: "T-shirt", Tshirts: "T-shirts", Ipad: "iPad", Nightsuits: "Night suits", Mens: "Men's", Womens: "Women's", NA: "Other" };

/** Returns a label of the catalogue as people write it: "Men T-shirts" for "Men Tshirts". */
export function labelText(label) {
  return label.replace(/[A-Za-z]+/g, (word) => WORDS[word] ?? word);
}

/** Returns the name of a product for shoppers. */
export function nameOf(product) {
  return product.name || (product.derived_type && labelText(product.derived_type)) || product.id;
}

/** Sets the title of the page; its parts go from the page to the shop. */
export function setTitle(...parts) {
  document.title = [...parts.filter(Boolean), "Fashion"].join(" · ");
}

/**
 * Moves products that look the same as an earlier one to the end, so that twins never stand side by side.
 *
 * @param {{product: object, similarity?: number}[]} found - in order of similarity.
 */
export function twinsLast(found) {
  const looks = new Set();
  const twins = [];
  const first = found.filter((each) => {
    // The same photograph has the same embedding, and so the same similarity.
    const look = `${each.product.derived_type} ${each.similarity.toFixed(6)}`;
    if (looks.has(look)) twins.push(each);
    looks.add(look);
    return !twins.includes(each);
  });
  return [...first, ...twins];
}

/**
 * Orders products so that variants, and others of one name and colour, stand apart as far as that is possible.
 *
 * @param {object[]} products - the products of one page, in their order, which is kept otherwise.
 */
export function apart(products) {
  const lookOf = ({ parent_id: parent, name, derived_type: type, base_colour: colour, id }) => parent ?? (name ? [type, name, colour].join("\n") : id);
  const remaining = products.map((product) => ({ product, look: lookOf(product) }));
  const ordered = [];
  while (remaining.length) {
    const place = remaining.findIndex(({ look }) => look !== ordered.at(-1)?.look);
    ordered.push(...remaining.splice(Math.max(place, 0), 1));
  }
  return ordered.map(({ product }) => product);
}

/** Formats a price; an empty text if there is none. */
export function priceOf(product) {
  return product.price ? money(product.price.amount, product.price.currency) : "";
}

/** Formats an amount of money; `options` are those of Intl.NumberFormat. */
export function money(amount, currency, options = {}) {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, ...options }).format(Number(amount));
  } catch {
    return `${amount} ${currency}`;
  }
}

/** Returns a range such as "20..49.99" for people, each end by `format`; either may be open. */
export function rangeText(range, format = (end) => Number(end).toLocaleString("en", { maximumFractionDigits: 9 })) {
  const [low, high] = range.split("..");
  if (low && high) return low === high ? format(low) : `${format(low)} – ${format(high)}`;
  return low ? `From ${format(low)}` : high ? `Up to ${format(high)}` : "Any";
}

/** Returns a range of prices such as "20.00..49.99 EUR" for people; any other text as it is. */
export function priceRangeText(range) {
  if (!IS_PRICE_RANGE.test(range)) return range;
  const currency = range.slice(-3);
  return rangeText(range.slice(0, -3).trim(), (end) => money(end, currency, { trailingZeroDisplay: "stripIfInteger" }));
}

/** Returns the heading of one of the shop's own attributes: "Heel mm" for "heel_mm". */
export function attributeLabel(name) {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Returns a value of one of the shop's own attributes for people. */
export function attributeText(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "Yes" : "No";
  return value.toLocaleString("en", { maximumFractionDigits: 9 });
}

/** Makes a product's picture on its tile; `sizes` is its width on the page, for the browser. */
export function picture(product, { sizes = "240px", eager = false, alt = "" } = {}) {
  const tile = h("span.tile");
  const empty = () => {
    tile.classList.add("without-picture");
    tile.replaceChildren(h("span", {}, "No photograph"));
    return tile;
  };
  if (!product.image) return empty();
  const image = h("img", {
    alt,
    decoding: "async",
    loading: eager ? "eager" : "lazy",
    sizes,
    on: {
      error: empty,
      load: () => image.classList.add("loaded"),
    },
  });
  image.srcset = [240, 480, 960].map((width) => `${pictureOf(product, width)} ${width}w`).join(", ");
  image.src = pictureOf(product, 480);
  tile.append(image);
  return tile;
}

/**
 * Makes the card of a product.
 *
 * @param {object} product - the gateway's JSON.
 * @param {{similarity?: number, variants?: object[], actions?: Node[], badge?: string, eager?: boolean}} [extras]
 */
export function productCard(product, { similarity, variants = [], actions = [], badge, eager = false } = {}) {
  const price = priceOf(product);
  return h(
    "article.card",
    { data: { product: product.id } },
    h(
      "a.card-link",
      { href: `/p/${encodeURIComponent(product.id)}` },
      picture(product, { sizes: "(max-width: 700px) 45vw, 240px", eager }),
      h("span.card-name", {}, nameOf(product)),
    ),
    h("span.card-detail", {}, [price, product.base_colour ?? labelText(product.derived_type)].filter(Boolean).join(" · ")),
    otherColours(product, variants),
    similarity === undefined ? null : similarityMeter(similarity),
    badge || product.in_stock === false ? h("span.badge", {}, badge ?? "Out of stock") : null,
    actions.length ? h("div.card-actions", {}, actions) : null,
  );
}

/** Says in how many colours a product can be bought, and links one variant of each other colour; null for one colour. */
function otherColours(product, variants) {
  const seen = new Set([product.base_colour]);
  const others = variants.filter(({ base_colour: colour, in_stock: stock }) => colour && stock !== false && !seen.has(colour) && seen.add(colour));
  const count = others.length + (product.base_colour ? 1 : 0);
  if (!others.length || count < 2) return null;
  return h(
    "span.card-colours",
    {},
    h("span", {}, `${count} colours`),
    others.slice(0, MAX_DOTS).map(({ id, base_colour: colour, swatch: paint }) =>
      h("a", { href: `/p/${encodeURIComponent(id)}`, title: colour, aria: { label: `${nameOf(product)} in ${colour}` } }, swatch(paint)),
    ),
  );
}

/** Makes a similarity as a number and a thin bar. The styles decide when it is visible. */
export function similarityMeter(similarity) {
  const share = `${Math.round(Math.max(0, Math.min(1, similarity)) * 100)}%`;
  return h(
    "span.similarity",
    { title: "Similarity: 1 is the same picture" },
    h("span.similarity-bar", { style: { "--share": share }, aria: { hidden: true } }),
    h("span.unseen", {}, "Similarity "),
    h("span.similarity-number", {}, similarity.toFixed(2)),
  );
}

/** Lays cards out in a list. */
export function grid(cards, label) {
  return h("ul.grid", { role: "list", aria: { label } }, cards.map((card) => h("li", {}, card)));
}

/** Makes placeholders for cards that are loading. */
export function skeletonGrid(count) {
  const one = () => h("li.skeleton", {}, h("span.tile"), h("span.line"), h("span.line.short"));
  return h("ul.grid", { aria: { hidden: true } }, Array.from({ length: count }, one));
}

/** Makes the text for an empty list, with actions. */
export function emptyState(title, text, ...actions) {
  return h("div.state", {}, h("h2", {}, title), h("p", {}, text), actions.length ? h("p.state-actions", {}, actions) : null);
}

/** Makes the text for a shop without products. */
export function emptyCatalogue() {
  return emptyState("No products yet", "The catalogue is empty.");
}

/** Makes the text for an error, with a button to try again. */
export function errorState(error, retry) {
  const title = error.offline ? "No connection to the shop" : "That did not work";
  return h(
    "div.state",
    { role: "alert" },
    h("h2", {}, title),
    h("p", {}, error.message || "Something went wrong."),
    error.requestId ? h("p.faint", {}, `Request ${error.requestId}`) : null,
    retry ? h("p.state-actions", {}, h("button.button", { type: "button", on: { click: retry } }, "Try again")) : null,
  );
}

/** Makes a round patch of a colour; of several colours if the colour is unknown. */
export function swatch(colour) {
  return colour ? h("span.swatch", { style: { "--swatch": colour }, aria: { hidden: true } }) : h("span.swatch.many", { aria: { hidden: true } });
}

/** Makes a small round button over a picture. */
export function roundButton(name, label, { pressed, click, disabled = false }) {
  return h(
    "button.round",
    { type: "button", title: label, disabled, aria: { label, pressed }, on: { click } },
    icon(name),
  );
}

/** Makes a choice of one from several. `choices` are {value, label, detail}. */
export function choice(legend, name, choices, chosen, change) {
  return h(
    "fieldset.choice",
    {},
    h("legend.unseen", {}, legend),
    choices.map(({ value, label, detail }) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => change(value) } }),
        h("span", {}, label, detail ? h("small", {}, ` ${detail}`) : null),
      ),
    ),
  );
}
