/** The map of the catalogue: similar products lie together, coloured by an attribute. */

import { catalogueFacets, request } from "../api.js";
import { catalogueColours, paintOf } from "../colours.js";
import { announce, counted, h, icon, wasAborted } from "../dom.js";
import { emptyState, errorState, nameOf, picture, setTitle } from "../parts.js";
import { go, rewrite } from "../navigation.js";
import { scatter } from "../scatter.js";

const TITLE = "Map of the catalogue";
const NAMED = 14;
const CARD = { width: 148, height: 260 };
// Most people can tell these apart, on light and on dark. All further values share one grey.
const PAINTS = ["#3b76c4", "#d9822b", "#3d9a5f", "#c2453f", "#8b63c0", "#1f9aa8", "#c45a9a", "#8a7a2f", "#6b7f99", "#b2703f", "#5c9f2e", "#a05ad0", "#d46a6a", "#4a8f80"];
const OTHER = "#98928a";

/** Shows the map of `fashion catalogue map`, or how to make it. */
export async function show(outlet, { address, signal }) {
  setTitle(TITLE);
  let map;
  try {
    map = await request("/map.json", { signal });
  } catch (error) {
    if (wasAborted(error)) return;
    outlet.replaceChildren(error.status === 404 ? howTo() : errorState(error, () => location.reload()));
    return;
  }
  const products = map.products.map((product) => (product.photograph_absent ? product : { ...product, image: `/v1/products/${encodeURIComponent(product.id)}/image` }));
  const attributes = map.attributes.filter((name) => products.some((product) => product[name] != null));
  const colours = await catalogueColours().catch(() => []);
  const labels = Object.fromEntries((await catalogueFacets().catch(() => [])).map((facet) => [facet.attribute, facet.label]));
  if (signal.aborted) return;
  let attribute = attributes.includes(address.searchParams.get("by")) ? address.searchParams.get("by") : (attributes.find((name) => name === "sub_category") ?? attributes[0]);
  let paints = new Map();
  let chosen = null;

  const legend = h("div.legend", { role: "group", aria: { label: "Legend" } });
  const card = h("div.map-card", { hidden: true });
  const plot = scatter(products, {
    label: "Map of the catalogue. Arrow keys go from product to product, plus and minus zoom, Enter opens a product.",
    paint: (index) => {
      const value = products[index][attribute];
      return { fill: paints.get(value) ?? OTHER, faint: chosen !== null && value !== chosen };
    },
    looked,
    opened: (index) => void go(`/p/${encodeURIComponent(products[index].id)}`),
    signal,
  });
  const stage = h("div.map-stage", {}, plot.canvas, card);
  const by = h(
    "select",
    {
      on: {
        change: () => {
          attribute = by.value;
          chosen = null;
          rewrite(`/map?by=${encodeURIComponent(attribute)}`);
          recolour();
        },
      },
    },
    attributes.map((name) => h("option", { value: name, selected: name === attribute }, labels[name] ?? name)),
  );
  const tool = (name, label, click) => h("button.button.plain.square", { type: "button", aria: { label }, title: label, on: { click } }, icon(name));
  outlet.classList.add("map-page");
  outlet.append(
    h(
      "div.map-head",
      {},
      h(
        "div",
        {},
        h("h1", { tabIndex: -1 }, TITLE),
        h("p.faint", {}, `What looks alike lies together. ${counted(map.sampled ?? products.length, "product")}${map.catalogue_size > products.length ? ` of ${map.catalogue_size.toLocaleString("en")}` : ""}.`),
      ),
      h(
        "div.map-tools",
        {},
        h("label.field", {}, h("span", {}, "Coloured by"), by),
        tool("plus", "Zoom in", () => plot.zoom(1.6)),
        tool("minus", "Zoom out", () => plot.zoom(1 / 1.6)),
        tool("undo", "Whole map", () => plot.reset()),
      ),
    ),
    stage,
    legend,
  );
  recolour();

  function recolour() {
    const counts = new Map();
    for (const product of products) if (product[attribute] != null) counts.set(product[attribute], (counts.get(product[attribute]) ?? 0) + 1);
    const values = [...counts].sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]));
    const named = attribute === "base_colour" ? values : values.slice(0, NAMED);
    paints = new Map(named.map(([value], index) => [value, attribute === "base_colour" ? (paintOf(colours, value) ?? OTHER) : PAINTS[index]]));
    const rest = values.slice(named.length).reduce((sum, [, count]) => sum + count, 0);
    legend.replaceChildren(
      ...named.map(([value, count]) =>
        h(
          "button",
          {
            type: "button",
            aria: { pressed: false },
            on: {
              click: (event) => {
                chosen = chosen === value ? null : value;
                for (const button of legend.children) button.setAttribute?.("aria-pressed", String(button === event.currentTarget && chosen !== null));
                plot.redraw();
              },
            },
          },
          h("span.swatch", { style: { "--swatch": paints.get(value) }, aria: { hidden: true } }),
          h("span", {}, value),
          h("span.facet-number", {}, count.toLocaleString("en")),
        ),
      ),
      ...(rest ? [h("p.faint.legend-rest", {}, `${counted(values.length - named.length, "other")}: ${rest.toLocaleString("en")}`)] : []),
    );
    plot.redraw();
  }

  let shown = null;
  function looked(index, x, y) {
    card.hidden = index === null;
    if (index === null) {
      shown = null;
      return;
    }
    if (index !== shown) {
      const product = products[index];
      shown = index;
      const text = [nameOf(product), [product.derived_type, product.base_colour].filter(Boolean).join(", ")];
      card.replaceChildren(picture(product, { sizes: "132px", eager: true }), h("p", {}, text[0]), h("p.faint", {}, text[1]));
      announce(text.join(", "));
    }
    const left = x + 16 + CARD.width > stage.clientWidth ? x - 16 - CARD.width : x + 16;
    const top = Math.min(Math.max(8, y - 80), Math.max(8, stage.clientHeight - CARD.height - 8));
    card.style.setProperty("--x", `${Math.max(4, left)}px`);
    card.style.setProperty("--y", `${top}px`);
  }
}

function howTo() {
  return emptyState(
    TITLE,
    "There is no map yet. Whoever runs the shop makes one in a minute, beside the running stack:",
    h("code.command", {}, "fashion catalogue map"),
  );
}
