/** Filters: the groups of check boxes, and the chips of the chosen values. */

import { catalogueFacets } from "./api.js";
import { h, icon } from "./dom.js";
import { attributeLabel, labelText, priceRangeText, rangeText, swatch } from "./parts.js";

const OPEN_AT_FIRST = new Set(["gender", "article_type", "base_colour", "price"]);
const SHOWN_AT_FIRST = 8;
const RANGE = ["year_first", "year_last"];
const WORDS = "words";
const IS_RANGE = /^(-?\d+(\.\d+)?)?\.\.(-?\d+(\.\d+)?)?$/;
const OWN_PREFIX = "attributes.";
const OWN = ["attribute", "excluded_attribute"];
// Of these a product has one value, or the shopper chooses one range.
const ONE_AT_ONCE = new Set(["price", "number", "flag"]);

/** Returns the filters of an address as pairs of name and value. Skips names that are no filter. */
export async function filtersOf(parameters) {
  if (!parameters.size) return [];
  const taken = (await catalogueFacets()).map(({ parameter }) => parameter).filter(Boolean);
  const known = new Set([...taken, ...RANGE, ...OWN, "price", WORDS]);
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

/** Returns a chosen filter for people. */
export function filterText([name, value]) {
  if (name === "year_first") return `From ${value}`;
  if (name === "year_last") return `Until ${value}`;
  if (name === WORDS) return `“${value}”`;
  if (name === "price") return priceRangeText(value);
  if (!OWN.includes(name)) return labelText(value);
  const [, own, text] = value.match(/^([^:=]+)[:=](.+)$/s) ?? [];
  if (!own) return value;
  if (name === "excluded_attribute") return `No ${unquoted(text)}`;
  if (text === "true" || text === "false") return `${attributeLabel(own)}: ${text === "true" ? "Yes" : "No"}`;
  return IS_RANGE.test(text) ? `${attributeLabel(own)}: ${rangeText(text)}` : labelText(unquoted(text));
}

function unquoted(text) {
  return /^".+"$/s.test(text) ? text.slice(1, -1) : text;
}

/** Makes a chip for each chosen value; clicking it removes the value. */
export function chips(filters, paint, change) {
  if (!filters.length) return null;
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
            aria: { label: `Remove ${filterText([name, value])}` },
            on: { click: () => change(without(filters, name, value)) },
          },
          name === "base_colour" ? swatch(paint(value)) : null,
          h("span", {}, filterText([name, value])),
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
    const { attribute, label, kind, parameter } = facet;
    const key = `${attribute} ${kind}`;
    const mine = filters.filter(([name, value]) => name === parameter && isOf(facet, value)).map(([, value]) => value);
    const chosen = new Set(mine);
    const present = new Set(facet.values.map(({ condition }) => condition));
    const ranges = kind === "price" || kind === "number";
    // The fields show a range that is none of the values.
    const lost = [...chosen].filter((condition) => !ranges && !present.has(condition)).map((condition) => ({ condition, text: filterText([parameter, condition]), count: null }));
    const values = [...facet.values, ...lost];
    if (values.length + chosen.size === 0) return null;
    const parts = kind === "year" ? [years(values, filters, change)] : [boxes(facet, values, chosen, mine, key), ranges && bounds(facet, mine)];
    return h(
      "details.facet",
      {
        open: memory.open.get(key) ?? (OPEN_AT_FIRST.has(attribute) || chosen.size > 0),
        on: { toggle: (event) => memory.open.set(key, event.target.open) },
      },
      h("summary", { data: { key: `facet-${key}` } }, label, chosen.size ? h("span.facet-count", {}, String(chosen.size)) : null),
      parts,
    );
  }).filter(Boolean);

  /** Returns the filters with other conditions of a facet. */
  function withOthers({ parameter }, mine, conditions) {
    const others = filters.filter(([name, value]) => name !== parameter || !mine.includes(value));
    return [...others, ...conditions.map((condition) => [parameter, condition])];
  }

  function boxes(facet, values, chosen, mine, key) {
    const { attribute, label, kind } = facet;
    const all = memory.all.has(key) || values.length <= SHOWN_AT_FIRST + 1;
    const box = ({ value, text, condition, count, swatch: paint }, index) =>
      h(
        "label.facet-value",
        { hidden: !all && index >= SHOWN_AT_FIRST && !chosen.has(condition) },
        h("input", {
          type: "checkbox",
          checked: chosen.has(condition),
          data: { key: `${attribute}-${condition}` },
          on: {
            change: (event) => {
              const kept = ONE_AT_ONCE.has(kind) ? [] : mine.filter((each) => each !== condition);
              change(withOthers(facet, mine, event.target.checked ? [...kept, condition] : kept));
            },
          },
        }),
        kind === "colour" ? swatch(paint) : null,
        h("span.facet-label", {}, text ?? valueText(facet, value, condition)),
        h("span.facet-number", {}, count?.toLocaleString("en") ?? ""),
      );
    const group = h("div.facet-values", { role: "group", aria: { label } }, values.map(box));
    if (all) return group;
    const more = h(
      "button.link",
      {
        type: "button",
        on: {
          click: () => {
            memory.all.add(key);
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

  /** Makes the two fields of a range of prices or numbers. */
  function bounds(facet, mine) {
    const { attribute, label, kind, currency, min, max } = facet;
    const prefix = kind === "price" ? "" : `${attribute.slice(OWN_PREFIX.length)}:`;
    const suffix = kind === "price" ? ` ${currency}` : "";
    const [low = "", high = ""] = mine.length ? mine[0].slice(prefix.length).replace(/ ?[A-Z]{3}$/, "").split("..") : [];
    const field = (name, value, placeholder) =>
      h("input", {
        type: "text",
        inputMode: "decimal",
        value,
        placeholder,
        data: { key: `${attribute}-${name}` },
        aria: { label: `${label}, ${name}${suffix}` },
        on: { change: send },
      });
    const fields = [field("from", low, min ?? ""), field("to", high, max ?? "")];
    return h("div.range", {}, fields[0], h("span", { aria: { hidden: true } }, "–"), fields[1], h("span.faint", {}, currency ?? ""));

    function send() {
      const ends = fields.map((each) => each.value.trim().replace(",", "."));
      const pattern = kind === "price" ? /^\d{1,18}(\.\d{1,9})?$/ : /^-?\d{1,300}(\.\d{1,300})?$/;
      const wrong = ends.map((end) => end !== "" && !pattern.test(end));
      wrong.forEach((is, place) => fields[place].setAttribute("aria-invalid", String(is)));
      if (wrong.some(Boolean)) return;
      if (ends.every(Boolean) && Number(ends[1]) < Number(ends[0])) ends.reverse();
      change(withOthers(facet, mine, ends.some(Boolean) ? [`${prefix}${ends.join("..")}${suffix}`] : []));
    }
  }
}

/** Tells whether a condition is one of a facet's: own attributes share a parameter. */
function isOf({ attribute, kind }, condition) {
  if (!attribute.startsWith(OWN_PREFIX)) return true;
  const [, own, text] = condition.match(/^([^:=]+)[:=](.*)$/s) ?? [];
  if (own !== attribute.slice(OWN_PREFIX.length)) return false;
  return kind === (text === "true" || text === "false" ? "flag" : IS_RANGE.test(text) ? "number" : "label");
}

function valueText({ kind }, value, condition) {
  if (kind === "price") return priceRangeText(condition);
  if (kind === "number") return rangeText(value);
  if (kind === "flag") return value === "true" ? "Yes" : "No";
  return labelText(value);
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
  return h("div.range.of-years", {}, select("year_first", "From"), select("year_last", "Until"));
}
