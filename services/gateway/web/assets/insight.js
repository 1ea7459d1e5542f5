/** The explanation of a result: where it was searched, what was left out, how long each step took. */

import { counted, h } from "./dom.js";
import { paintOf } from "./colours.js";
import { labelText, picture, swatch } from "./parts.js";

const STEPS = {
  total: "Whole way",
  read_dislikes: "Read your colours",
  embed: "Look at the picture",
  classify: "Recognise its type",
  search: "Search",
  explain: "Search without your colours",
};

const LEFT_OUT = {
  filtered_count: "by the filter",
  out_of_stock_count: "out of stock",
  disliked_count: "of your colours",
  excluded_count: "excluded",
  variant_count: "variants of others",
  dissimilar_count: "not similar enough",
};

/** The degradation of an answer to a photograph that shows nobody knows what. */
export const UNSURE = "UNSURE";

const DEGRADED = {
  PREFERENCES_UNAVAILABLE: "Your colours could not be read just now; the last known ones were left out.",
  CLASSIFIER_UNAVAILABLE: "The type could not be recognised, so the whole catalogue was searched.",
  PREDICTED_TYPE_NOT_IN_CATALOGUE: "The catalogue has nothing of the recognised type, so all of it was searched.",
  [UNSURE]: "Not sure what this is, so the two likeliest types were searched.",
};

/** Returns a note per degradation but those of `told`; none if the search was complete. */
export function degradedNotes(applied, told = []) {
  return (applied.degraded ?? []).filter((reason) => !told.includes(reason)).map((reason) => h("p.notice", {}, DEGRADED[reason] ?? "The answer may be incomplete."));
}

/** Returns whether an answer says that the catalogue is empty: it was searched as a whole, and nothing was left out. */
export function isOfEmptyCatalogue({ products, applied }) {
  return applied.scope === "inventory" && !products.length && !applied.eligible_count && Object.keys(LEFT_OUT).every((name) => !applied.counts?.[name]);
}

/** Returns in one line where the search looked. */
export function searchedText(applied) {
  const where = applied.derived_types.length ? applied.derived_types.map(labelText).join(", ") : "the whole catalogue";
  return `${counted(applied.eligible_count, "product")} compared in ${where}`;
}

/** Returns in one line how many products were left out, and why. */
export function leftOutText(counts) {
  const shown = Object.entries(LEFT_OUT).filter(([name]) => counts?.[name]);
  return shown.length ? shown.map(([name, reason]) => `${counts[name].toLocaleString("en")} ${reason}`).join(", ") : "none";
}

/** Draws steps as bars on one axis of time. */
export function timingBars(timings) {
  const end = Math.max(...timings.map((each) => each.start_milliseconds + each.milliseconds), 0.001);
  const percent = (value) => `${(100 * value) / end}%`;
  return h(
    "table.timings",
    {},
    h("caption", {}, "Time of each step"),
    h("thead.unseen", {}, h("tr", {}, h("th", { scope: "col" }, "Step"), h("th", { scope: "col" }, "When"), h("th", { scope: "col" }, "Milliseconds"))),
    h(
      "tbody",
      {},
      timings.map((each) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, STEPS[each.step] ?? each.step),
          h(
            "td.timing-lane",
            {},
            h("span.timing-bar", {
              data: { step: each.step },
              style: { "--from": percent(each.start_milliseconds), "--long": percent(each.milliseconds) },
            }),
          ),
          h("td.number", {}, `${each.milliseconds.toFixed(1)} ms`),
        ),
      ),
    ),
  );
}

/** Lists colours with their swatches. */
export function colourList(names, colours) {
  return h("ul.colour-list", { role: "list" }, names.map((name) => h("li", {}, swatch(paintOf(colours, name)), name)));
}

/** Draws the whole explanation of a result. */
export function explanationOf(answer, colours) {
  const { applied } = answer;
  const gone = (answer.before_colours ?? []).filter((each) => each.left_out);
  return h(
    "div.explanation",
    {},
    h(
      "dl.facts",
      {},
      fact("Compared", searchedText(applied)),
      fact("Left out", leftOutText(applied.counts)),
      applied.excluded_colours.length ? fact("Colours left out", colourList(applied.excluded_colours, colours)) : fact("Colours left out", "none"),
      gone.length
        ? fact(
            "Would have been here",
            h(
              "ul.gone",
              { role: "list" },
              gone.map(({ product, similarity }) =>
                h(
                  "li",
                  {},
                  h("a", { href: `/p/${encodeURIComponent(product.id)}`, title: product.name ?? product.id }, picture(product, { sizes: "56px", alt: product.name ?? product.id })),
                  h("small", {}, similarity.toFixed(2)),
                ),
              ),
            ),
          )
        : null,
      fact("Model", h("code", {}, applied.model_version)),
      fact("Catalogue version", String(applied.index_version)),
    ),
    answer.timings?.length ? timingBars(answer.timings) : null,
  );
}

function fact(term, description) {
  return h("div", {}, h("dt", {}, term), h("dd", {}, description));
}
