/** Filters: the groups of check boxes, and the chips of the chosen values. */

import { catalogueFacets } from "./api.js";
import { h, icon } from "./dom.js";
import { labelText, swatch } from "./parts.js";

const OPEN_AT_FIRST = new Set(["gender", "article_type", "base_colour"]);
const SHOWN_AT_FIRST = 8;
const RANGE = ["year_first", "year_last"];
const WORDS = "words";

/** Returns the filters of an address as pairs of name and value. Skips names that are no filter. */
export async function filtersOf(parameters) {
  if (!parameters.size) return [];
  const filtered = (await catalogueFacets()).filter((facet) => facet.filtered && facet.kind !== "year");
  const known = new Set([...filtered.map(({ attribute }) => attribute), ...RANGE, WORDS]);
  return [...parameters].filter(([name, value]) => value && known.has(name));
}

/** Returns the address of the list with these filters, in an order. */
export function addressOf(filters, order = "") {
  const query = new URLSearchParams(order ? [...filters, ["order", order]] : filters).toString();
  return query ? `/?${query}` : "/";
}

/** Returns filters with other words, or without any. */
export function withWords(filters, words) {
  const others = without(filters, WORDS);
  return words ? [...others, [WORDS, words]] : others;
}

/** Returns the words of filters; an empty text if there are none. */
export function wordsOf(filters) {
  return filters.find(([name]) => name === WORDS)?.[1] ?? "";
}

function without(filters, name, value) {
  return filters.filter(([each, chosen]) => each !== name || (value !== undefined && chosen !== value));
}

/** Makes a chip for each chosen value; clicking it removes the value. */
export function chips(filters, paint, change) {
  if (!filters.length) return null;
  const label = (name, value) => (name === "year_first" ? `From ${value}` : name === "year_last" ? `Until ${value}` : name === WORDS ? `“${value}”` : labelText(value));
  return h(
    "ul.chips",
    { role: "list", aria: { label: "Chosen filters" } },
    filters.map(([name, value]) =>
      h(
        "li",
        {},
        h(
          "button.chip",
          {
            type: "button",
            aria: { label: `Remove ${label(name, value)}` },
            on: { click: () => change(without(filters, name, value)) },
          },
          name === "base_colour" ? swatch(paint(value)) : null,
          h("span", {}, label(name, value)),
          icon("close"),
        ),
      ),
    ),
    h("li", {}, h("button.link", { type: "button", on: { click: () => change([]) } }, "Clear all")),
  );
}

/**
 * Makes the groups of check boxes.
 *
 * @param {object[]} facets - the gateway's facets.
 * @param {[string, string][]} filters - the chosen values.
 * @param {{open: Map<string, boolean>, all: Set<string>}} memory - the open groups, and those that show all values.
 * @param {(filters: [string, string][]) => void} change - called with the new choice.
 */
export function facetGroups(facets, filters, memory, change) {
  return facets.filter(({ filtered }) => filtered).map((facet) => {
    const { attribute, label } = facet;
    const chosen = new Set(filters.filter(([name]) => name === attribute).map(([, value]) => value));
    const present = new Set(facet.values.map((each) => each.value));
    const lost = [...chosen].filter((value) => !present.has(value)).map((value) => ({ value, count: 0 }));
    const values = [...facet.values, ...lost];
    if (values.length === 0) return null;
    const body = facet.kind === "year" ? years(values, filters, change) : boxes(facet, values, chosen);
    return h(
      "details.facet",
      {
        open: memory.open.get(attribute) ?? (OPEN_AT_FIRST.has(attribute) || chosen.size > 0),
        on: { toggle: (event) => memory.open.set(attribute, event.target.open) },
      },
      h("summary", { data: { key: `facet-${attribute}` } }, label, chosen.size ? h("span.facet-count", {}, String(chosen.size)) : null),
      body,
    );
  }).filter(Boolean);

  function boxes({ attribute, label, kind }, values, chosen) {
    const all = memory.all.has(attribute) || values.length <= SHOWN_AT_FIRST + 1;
    const box = ({ value, count, swatch: paint }, index) =>
      h(
        "label.facet-value",
        { hidden: !all && index >= SHOWN_AT_FIRST && !chosen.has(value) },
        h("input", {
          type: "checkbox",
          checked: chosen.has(value),
          data: { key: `${attribute}-${value}` },
          on: {
            change: (event) =>
              change(event.target.checked ? [...filters, [attribute, value]] : without(filters, attribute, value)),
          },
        }),
        kind === "colour" ? swatch(paint) : null,
        h("span.facet-label", {}, labelText(value)),
        h("span.facet-number", {}, count.toLocaleString("en")),
      );
    const group = h("div.facet-values", { role: "group", aria: { label } }, values.map(box));
    if (all) return group;
    const more = h(
      "button.link",
      {
        type: "button",
        on: {
          click: () => {
            memory.all.add(attribute);
            for (const label of group.children) label.hidden = false;
            more.remove();
            group.children[SHOWN_AT_FIRST].querySelector("input").focus();
          },
        },
      },
      `Show all ${values.length}`,
    );
    return h("div", {}, group, more);
  }
}

function years(values, filters, change) {
  const known = values.map(({ value }) => value).sort();
  const select = (name, label) => {
    const chosen = filters.find(([each]) => each === name)?.[1] ?? "";
    const options = ["", ...new Set([...known, ...(chosen ? [chosen] : [])])].map((value) =>
      h("option", { value, selected: value === chosen }, value || "Any"),
    );
    return h(
      "label.field",
      {},
      h("span", {}, label),
      h(
        "select",
        {
          data: { key: name },
          on: {
            change: ({ target }) => {
              const rest = without(filters, name);
              change(target.value ? [...rest, [name, target.value]] : rest);
            },
          },
        },
        options,
      ),
    );
  };
  return h("div.year-range", {}, select("year_first", "From"), select("year_last", "Until"));
}
