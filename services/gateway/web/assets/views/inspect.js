/** The inspector: one query and all its steps. */

import { findSimilar, findSimilarToPhotograph, getProduct, listProducts } from "../api.js";
import { isWhole, regionText } from "../crop-box.js";
import { catalogueColours } from "../colours.js";
import { counted, h, wasAborted } from "../dom.js";
import { colourList, degradedNotes, leftOutText, searchedText, timingBars } from "../insight.js";
import { errorState, nameOf, picture, setTitle } from "../parts.js";
import { keptPhotograph, listenForPictures, photoButtons, takePhotograph } from "../photo-input.js";
import { go } from "../navigation.js";
import { session } from "../session.js";

const LIMIT = 12;
const SCOPES = [
  ["", "As usual"],
  ["inventory", "Whole catalogue"],
  ["predicted_type", "Its own type"],
];

/** Shows the query of the address: `?product=ID`, or `?photo=1` for the last photograph. */
export async function show(outlet, { address, signal }) {
  setTitle("Inspect a query");
  outlet.classList.add("inspector");
  const parameters = address.searchParams;
  const photograph = parameters.has("photo") ? keptPhotograph() : null;
  const scope = parameters.get("scope") ?? "";
  const productId = parameters.get("product") ?? "";
  const body = h("div.inspector-body");
  const problem = h("p.notice", { role: "alert", hidden: true });
  const taken = async (file) => {
    problem.hidden = true;
    try {
      await takePhotograph(file);
      // Another photograph may have the same address.
      if (photograph) await inspect(keptPhotograph());
      else await go("/inspect?photo=1");
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  listenForPictures(outlet, (file) => void taken(file), signal);

  const id = h("input", { type: "text", name: "product", value: productId, autocomplete: "off", spellcheck: false });
  const where = h("select", { name: "scope" }, SCOPES.map(([value, label]) => h("option", { value, selected: value === scope }, label)));
  const submit = (event) => {
    event.preventDefault();
    const next = new URLSearchParams();
    if (id.value.trim() && !(photograph && id.value.trim() === productId)) next.set("product", id.value.trim());
    else if (photograph) next.set("photo", "1");
    if (where.value) next.set("scope", where.value);
    void go(`/inspect?${next}`);
  };
  outlet.append(
    h(
      "div.inspector-head",
      {},
      h(
        "div",
        {},
        h("h1", { tabIndex: -1 }, "Inspect a query"),
        h("p", {}, "What the photograph was taken for, where it was searched, what your colours took away, and how long each step took."),
      ),
      h(
        "form.inspector-form",
        { on: { submit } },
        h("label.field", {}, h("span", {}, "Product"), id),
        h("label.field", {}, h("span", {}, "Where"), where),
        h("button.button", { type: "submit" }, "Inspect"),
        photoButtons((file) => void taken(file), { first: "Photograph", plain: true }),
      ),
    ),
    problem,
    body,
  );
  await session.ready();
  session.addEventListener("change", () => void inspect(parameters.has("photo") ? keptPhotograph() : null), { signal });
  let asking = 0;
  await inspect(photograph);

  async function inspect(photo) {
    body.setAttribute("aria-busy", "true");
    const turn = (asking += 1);
    try {
      const chosen = photo ? null : productId || (await anyProduct(signal));
      if (!photo && !chosen) {
        body.replaceChildren(h("p.faint", {}, "The catalogue is empty."));
        return;
      }
      if (!photo) id.value = chosen;
      const { query, token } = await session.credentials();
      const asked = [["limit", LIMIT], ["explain", true], ["scope", scope], ...query];
      const region = photo && !isWhole(photo.box) ? [["region", regionText(photo.box)]] : [];
      const [answer, product, colours] = await Promise.all([
        photo
          ? findSimilarToPhotograph(photo.file, { query: [...asked, ...region], token, signal })
          : findSimilar(chosen, { query: asked, token, signal }),
        photo ? null : getProduct(chosen, { signal }),
        catalogueColours().catch(() => []),
      ]);
      // The colours may have changed again meanwhile. Only the last query counts.
      if (turn !== asking) return;
      body.replaceChildren(...report(answer, { product, photo, region: region[0]?.[1] }, colours));
    } catch (error) {
      if (!wasAborted(error) && turn === asking) body.replaceChildren(errorState(error, () => void inspect(photo)));
    } finally {
      if (turn === asking) body.removeAttribute("aria-busy");
    }
  }
}

async function anyProduct(signal) {
  return (await listProducts([], { pageSize: 1, signal })).products[0]?.id ?? "";
}

function report(answer, { product, photo, region }, colours) {
  const { applied } = answer;
  const before = answer.before_colours.length ? answer.before_colours : answer.products.map((each) => ({ ...each, left_out: false }));
  const known = new Set(before.map(({ product: each }) => each.id));
  const gone = before.filter((each) => each.left_out).length;
  const fact = (term, description) => h("div", {}, h("dt", {}, term), h("dd", {}, description));
  return [
    ...degradedNotes(applied),
    h(
      "div.inspector-query",
      {},
      h(
        "section",
        { aria: { label: "Query" } },
        photo ? copyOf(photo) : h("a", { href: `/p/${encodeURIComponent(product.id)}` }, picture(product, { eager: true, alt: nameOf(product) })),
        h("p.faint", {}, photo ? (region ? `Part ${region.split(",").map((share) => Number(share).toFixed(2)).join(" ")}` : "The whole photograph") : nameOf(product)),
      ),
      h(
        "section",
        {},
        h("h2", {}, "What it is"),
        answer.classification
          ? [
              bars("Subcategory", "probability", answer.classification.sub_categories.map(({ label, probability }) => ({ label, share: probability, text: probability === null ? "–" : `${(probability * 100).toFixed(1)} %` }))),
              bars(
                "Type",
                "probability, and similarity",
                answer.classification.derived_types.map(({ label, probability, similarity }) => ({ label, share: probability ?? similarity, text: `${probability === null ? "–" : `${(probability * 100).toFixed(1)} %`}  ${similarity.toFixed(3)}` })),
              ),
            ]
          : h("dl.facts", {}, fact("Type", product?.derived_type ?? "unknown"), fact("Subcategory", product?.sub_category ?? "unknown"), fact("Known from", "the catalogue: nothing had to be recognised")),
      ),
      h(
        "section",
        {},
        h("h2", {}, "How it was searched"),
        h(
          "dl.facts",
          {},
          fact("Where", applied.derived_types.length ? applied.derived_types.join(", ") : "whole catalogue"),
          fact("Compared", searchedText(applied)),
          fact("Left out", leftOutText(applied.counts)),
          answer.confidence === null ? null : fact("Confidence", `${(answer.confidence * 100).toFixed(1)} %`),
          fact("Filters", applied.excluded_colours.length ? colourList(applied.excluded_colours.map(String), colours) : "none: in stock, and not the query itself"),
          fact("Model", h("code", {}, applied.model_version)),
          fact("Catalogue version", String(applied.index_version)),
        ),
        answer.timings.length ? timingBars(answer.timings) : null,
      ),
    ),
    h(
      "div.ways",
      {},
      h(
        "section",
        { aria: { label: "Before your colours" } },
        h("h2", {}, "Before your colours"),
        h("p.faint", {}, gone ? `${counted(gone, "product")} of these you would rather not see.` : "Nothing is left out. Choose colours to leave out at the top of the page, and watch."),
        strip(before, (each) => (each.left_out ? "left-out" : "")),
      ),
      h(
        "section",
        { aria: { label: "After your colours" } },
        h("h2", {}, "After your colours"),
        h("p.faint", {}, gone ? "Framed: products that moved in." : "The same list."),
        strip(answer.products, ({ product: each }) => (known.has(each.id) ? "" : "moved-in")),
      ),
    ),
  ];
}

function copyOf({ canvas }) {
  const copy = document.createElement("canvas");
  copy.width = canvas.width;
  copy.height = canvas.height;
  copy.getContext("2d").drawImage(canvas, 0, 0);
  copy.setAttribute("role", "img");
  copy.setAttribute("aria-label", "Your photograph");
  return copy;
}

function bars(caption, unit, rows) {
  return h(
    "table.types",
    {},
    h("caption", {}, `${caption}: ${unit}`),
    h(
      "tbody",
      {},
      rows.map(({ label, share, text }) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, label),
          h("td.timing-lane", {}, h("span.type-bar", { style: { "--long": `${Math.max(0, Math.min(1, share ?? 0)) * 100}%` } })),
          h("td.number", {}, text),
        ),
      ),
    ),
  );
}

function strip(products, classOf) {
  return h(
    "ul.strip",
    { role: "list" },
    products.map((each) => {
      const { product, image, similarity } = each;
      return h(
        ["li", classOf(each)].filter(Boolean).join("."),
        {},
        h(
          "a",
          { href: `/inspect?product=${encodeURIComponent(product.id)}`, title: nameOf(product) },
          picture({ ...product, image: image ?? product.image }, { sizes: "112px" }),
          h("span.strip-name", {}, nameOf(product)),
        ),
        h("span.strip-number", {}, `${similarity.toFixed(3)} · ${product.base_colour ?? "–"}`),
      );
    }),
  );
}
