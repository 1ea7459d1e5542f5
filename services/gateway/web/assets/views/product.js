/** A product, and similar ones. */

import { catalogueFacets, findSimilar, getProduct } from "../api.js";
import { paintOf } from "../colours.js";
import { POINTS_WITH_MOUSE, announce, h, icon, wasAborted } from "../dom.js";
import { attributeLabel, attributeText, choice, emptyState, errorState, labelText, nameOf, picture, priceOf, setTitle, swatch } from "../parts.js";
import { rewrite } from "../navigation.js";
import { session } from "../session.js";
import { similarList } from "../similar-list.js";

const EVERYWHERE = "inventory";
const SAME_TYPE = "predicted_type";
// These attributes have a line of their own below.
const SHOWN_TOGETHER = new Set(["gender", "master_category", "sub_category", "article_type", "base_colour"]);

/** Shows the product of the address. */
export async function show(outlet, { address, parameters: [id], signal }) {
  outlet.classList.add("product-page");
  setTitle("Product");
  const query = address.searchParams;
  let scope = query.get("scope") === SAME_TYPE ? SAME_TYPE : EVERYWHERE;
  let steering = { liked: query.getAll("liked"), disliked: query.getAll("disliked") };
  const remember = () => {
    const next = new URLSearchParams();
    if (scope !== EVERYWHERE) next.set("scope", scope);
    for (const kind of ["liked", "disliked"]) for (const each of steering[kind]) next.append(kind, each);
    rewrite(next.size ? `${location.pathname}?${next}` : location.pathname);
  };

  const top = h("section.product", { aria: { label: "Product", busy: true } }, h("span.tile.skeleton-tile"), h("div.product-text", {}, h("span.line"), h("span.line.short")));
  const list = similarList({
    ask: (more, token, wanted, { everywhere = false } = {}) =>
      findSimilar(id, { query: [...more, ["scope", everywhere ? EVERYWHERE : scope]], token, signal: wanted }),
    steering,
    steered: (next) => {
      steering = next;
      remember();
    },
    signal,
  });
  const similar = h(
    "section.similar",
    { aria: { label: "Similar products" } },
    h(
      "div.section-head",
      {},
      h("div", {}, h("h2", {}, "Similar products"), POINTS_WITH_MOUSE ? h("p.faint", {}, "Point at one to ask for more or less like it.") : null),
      choice("Where to look", "scope", [{ value: EVERYWHERE, label: "Whole catalogue" }, { value: SAME_TYPE, label: "Same type" }], scope, (value) => {
        scope = value;
        remember();
        void list.refresh();
      }),
    ),
    list.element,
  );
  const staff = h("p.faint", {}, h("a", { href: `/inspect?product=${encodeURIComponent(id)}` }, "Inspect the query"));
  outlet.append(top, similar, list.wider, staff);

  // Both requests run at once: the list does not need the product.
  const listed = list.refresh();
  try {
    const [product, facets] = await Promise.all([getProduct(id, { signal }), catalogueFacets().catch(() => [])]);
    setTitle(nameOf(product));
    top.replaceChildren(photographs(product), text(product, facets));
    top.setAttribute("aria-busy", "false");
  } catch (error) {
    if (wasAborted(error)) return;
    setTitle("Not found");
    outlet.replaceChildren(
      error.status === 404
        ? emptyState("This product is gone", "It may have been sold out, or the address is wrong.", h("a.button", { href: "/" }, "Show all products"))
        : errorState(error, () => location.reload()),
    );
    return;
  }
  await listed;
}

/** Shows the first photograph large; where there are several, with small ones to choose from. */
function photographs(product) {
  const images = product.images ?? [];
  const large = (image) => picture({ ...product, image }, { sizes: "(max-width: 700px) 100vw, 480px", eager: true, alt: nameOf(product) });
  if (images.length < 2) return large(product.image);
  const shown = h("div", {}, large(images[0]));
  const buttons = images.map((image, index) =>
    h(
      "button",
      {
        type: "button",
        aria: { label: `Photograph ${index + 1} of ${images.length}`, pressed: index === 0 },
        on: {
          click: () => {
            shown.replaceChildren(large(image));
            buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === index)));
          },
        },
      },
      picture({ ...product, image }, { sizes: "64px" }),
    ),
  );
  return h("div.gallery", {}, shown, h("div.gallery-choice", { role: "group", aria: { label: "Photographs" } }, buttons));
}

function text(product, facets) {
  const price = priceOf(product);
  const colours = facets.find(({ kind }) => kind === "colour")?.values ?? [];
  const others = facets.filter(({ attribute, filtered }) => filtered && !SHOWN_TOGETHER.has(attribute) && typeof product[attribute] !== "object");
  const facts = [
    ["Colour", product.base_colour && colourOf(product.base_colour, colours)],
    ["Type", h("a", { href: `/?${new URLSearchParams({ ...(product.gender && { gender: product.gender }), article_type: product.article_type })}` }, labelText(product.derived_type))],
    ["Category", [product.master_category, product.sub_category].filter(Boolean).map(labelText).join(", ")],
    ...others.map(({ attribute, label }) => [label, product[attribute]]),
    ...Object.entries(product.attributes ?? {}).map(([name, value]) => [attributeLabel(name), attributeText(value)]),
    ["Article no.", product.id],
  ];
  return h(
    "div.product-text",
    {},
    h("h1", { tabIndex: -1 }, nameOf(product)),
    price ? h("p.price", {}, price) : null,
    product.in_stock === false ? h("p", {}, h("span.badge.inline", {}, "Out of stock")) : null,
    h("dl.facts", {}, facts.filter(([, value]) => value).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))),
    h(
      "p.product-actions",
      {},
      isWeb(product.url) ? h("a.button", { href: product.url, target: "_blank", rel: "noopener noreferrer" }, "To the shop", icon("external")) : null,
    ),
  );
}

/** Makes the colour, with a button to leave it out of similar products. */
function colourOf(colour, colours) {
  const leave = h("button.link", { type: "button", hidden: !session.available }, "Leave out this colour");
  const describe = () => {
    leave.hidden = !session.available;
    leave.disabled = session.covers(colour);
    leave.textContent = leave.disabled ? "Left out of what is similar" : "Leave out this colour";
  };
  leave.addEventListener("click", async () => {
    try {
      await session.dislike(colour, true);
      describe();
    } catch (error) {
      announce(error.message);
      leave.textContent = error.message;
    }
  });
  void session.ready().then(describe);
  return h("span.with-swatch", {}, swatch(paintOf(colours, colour)), colour, leave);
}

/** Only http and https: a shop's data may hold "javascript:" too. */
function isWeb(url) {
  return /^https?:\/\//i.test(url ?? "");
}
