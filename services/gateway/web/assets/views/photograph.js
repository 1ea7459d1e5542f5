/** Search by photograph: drop, paste, choose or take one, point at the garment, correct its type. */

import { findSimilarToPhotograph, listFacets } from "../api.js";
import { WHOLE, boxOf, cropBox, isWhole, regionText } from "../crop-box.js";
import { POINTS_WITH_MOUSE, h, icon } from "../dom.js";
import { UNSURE, isOfEmptyCatalogue } from "../insight.js";
import { choice, labelText, setTitle } from "../parts.js";
import { dropPhotograph, keptPhotograph, listenForPictures, photoButtons, takePhotograph } from "../photo-input.js";
import { similarList } from "../similar-list.js";

const EVERYTHING = " everything";
const ANY = "";
const TYPES_OFFERED = 3;

/** Shows the last photograph, or asks for one. */
export async function show(outlet, { signal }) {
  setTitle("Search by photograph");
  const problem = h("p.notice", { role: "alert", hidden: true });
  let showing = null;

  const taken = async (file) => {
    problem.hidden = true;
    try {
      await takePhotograph(file);
      if (!signal.aborted) draw();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  listenForPictures(outlet, (file) => void taken(file), signal);
  signal.addEventListener("abort", () => showing?.abort());
  draw();

  function draw() {
    showing?.abort();
    showing = new AbortController();
    const photograph = keptPhotograph();
    outlet.replaceChildren(problem, photograph ? found(photograph, taken, startOver, showing.signal) : start(taken));
  }

  function startOver() {
    dropPhotograph();
    draw();
    outlet.querySelector("h1").focus();
  }
}

function start(taken) {
  return h(
    "section.photo-start",
    {},
    h("h1", { tabIndex: -1 }, "Search by photograph"),
    h("p", {}, "Seen something that you like? Show a photograph of it, and find what looks most like it."),
    h(
      "div.drop",
      {},
      icon("camera"),
      h("div.drop-buttons", {}, photoButtons((file) => void taken(file))),
      POINTS_WITH_MOUSE ? h("p.faint", {}, "or drop one here, or paste it") : null,
    ),
    h("p.faint", {}, "It is looked at once, for this search, and not kept."),
  );
}

function found(photograph, taken, startOver, signal) {
  const recognised = h("div.recognised", { aria: { live: "polite" } });
  let latest = null;
  const list = similarList({
    photographed: true,
    ask: (more, token, wanted, { everywhere = false } = {}) =>
      findSimilarToPhotograph(photograph.file, { query: [...more, ...where(everywhere)], token, signal: wanted }),
    answered: (answer) => {
      latest = answer;
      drawDots(answer.view);
      void drawTypes();
    },
    steered: () => {},
    signal,
  });
  const crop = cropBox(photograph.canvas, photograph.box, (box) => {
    photograph.box = { ...box };
    whole.hidden = isWhole(box);
    drawDots(null);
    // Another part of the picture may show another type.
    photograph.chosenType = photograph.chosenType === EVERYTHING ? EVERYTHING : "";
    void list.refresh();
  });
  const dots = h("div.garment-dots", { role: "group", aria: { label: "Garments in the photograph" }, hidden: true });
  const hint = h("span");
  crop.element.append(dots);
  const whole = h("button.link", { type: "button", hidden: isWhole(photograph.box), on: { click: () => crop.set(WHOLE) } }, "Whole photograph");

  /** Draws a dot on each garment where there are several; `view` is what an answer says of the photograph, or null. */
  function drawDots(view) {
    // An answer about a part knows the garments of that part alone.
    if (view && isWhole(photograph.box)) {
      const fresh = view.garments.length > 1 && photograph.garments === null;
      photograph.garments = view.garments.length > 1 ? view.garments : [];
      if (fresh) open(true);
    }
    const garments = photograph.garments ?? [];
    const searched = isWhole(photograph.box) ? view?.region : regionText(photograph.box);
    const focused = [...dots.children].indexOf(document.activeElement);
    dots.hidden = garments.length === 0;
    dots.replaceChildren(
      ...garments.map(({ region, sub_category: type }, index) => {
        const box = boxOf(region);
        return h("button.garment-dot", {
          type: "button",
          title: labelText(type),
          aria: { label: `Search for garment ${index + 1} of ${garments.length}: ${labelText(type)}`, pressed: region === searched },
          style: { "--x": `${50 * (box.left + box.right)}%`, "--y": `${50 * (box.top + box.bottom)}%` },
          on: { click: () => crop.set(region === regionText(photograph.box) ? WHOLE : box) },
        });
      }),
    );
    dots.children[focused]?.focus({ preventScroll: true });
    hint.textContent = garments.length ? "Choose a dot to search one garment, or drag the corners. " : "Drag the corners to point at one garment. ";
  }

  function where(everywhere) {
    const region = isWhole(photograph.box) ? [] : [["region", regionText(photograph.box)]];
    if (everywhere || photograph.chosenType === EVERYTHING) return [...region, ["scope", "inventory"]];
    if (photograph.chosenType) return [...region, ["scope", "derived_types"], ["derived_type", photograph.chosenType]];
    return region;
  }

  function choose(type) {
    photograph.chosenType = type;
    void list.refresh();
  }

  async function drawTypes() {
    const answer = latest;
    if (isOfEmptyCatalogue(answer)) {
      recognised.replaceChildren();
      return;
    }
    const listed = await derivedTypes().catch(() => null);
    if (answer !== latest || signal.aborted) return;
    const known = listed ?? [];
    const predicted = (answer.classification?.derived_types ?? []).filter(({ label }) => !listed || listed.includes(label));
    const offered = predicted.slice(0, TYPES_OFFERED);
    const unsure = answer.applied.degraded.includes(UNSURE);
    const searched = searchedType(answer, predicted, unsure);
    const labels = offered.map(({ label }) => label);
    if (searched !== EVERYTHING && searched !== ANY && !labels.includes(searched)) labels.push(searched);
    const others = known.filter((label) => !labels.includes(label));
    const options = [
      unsure ? { value: ANY, label: answer.applied.derived_types.map(labelText).join(" or ") } : null,
      ...labels.map((label) => ({ value: label, label: labelText(label) })),
      { value: EVERYTHING, label: "Whole catalogue" },
    ].filter(Boolean);
    const focused = recognised.contains(document.activeElement) ? document.activeElement.value : undefined;
    recognised.replaceChildren(
      h(unsure ? "p.recognised-head.is-unsure" : "p.recognised-head", {}, headOf(unsure, offered)),
      choice("What the photograph shows", "type", options, searched, choose),
      others.length
        ? h(
            "label.field",
            {},
            h("span.unseen", {}, "Another type"),
            h(
              "select",
              { on: { change: ({ target }) => target.value && choose(target.value) } },
              h("option", { value: "" }, "Another type …"),
              others.map((label) => h("option", { value: label }, labelText(label))),
            ),
          )
        : "",
    );
    showChosen(recognised.querySelector(".choice"));
    if (focused !== undefined) recognised.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  // On a phone the photograph is a strip above the results, and opens to be adjusted.
  const query = h("section.photo-query", { aria: { label: "Your photograph" } });
  const adjust = h(
    "button.button.plain.adjust",
    { type: "button", aria: { expanded: false }, on: { click: () => open(!query.classList.contains("open")) } },
    icon("crop"),
    "Adjust",
  );
  function open(wanted) {
    query.classList.toggle("open", wanted);
    adjust.setAttribute("aria-expanded", String(wanted));
  }

  query.append(
    h("h1.unseen", { tabIndex: -1 }, "Search by photograph"),
    copyOf(photograph.canvas),
    h("div.crop-stage", {}, crop.element),
    h("p.faint.crop-hint", {}, hint, whole),
    h(
      "div.photo-buttons",
      {},
      adjust,
      photoButtons((file) => void taken(file), { first: "Another photograph", plain: true }),
      h("a.button.plain", { href: "/inspect?photo=1" }, icon("inspect"), "Inspect"),
      h("button.quiet", { type: "button", on: { click: startOver } }, "Remove"),
    ),
  );
  drawDots(null);
  if (photograph.garments?.length) open(true);
  void list.refresh();
  return h(
    "div.photo-page",
    {},
    query,
    h("section.photo-results", { aria: { label: "Similar products" } }, h("h2", {}, "What looks like it"), recognised, list.element, list.wider),
  );
}

/** Returns the type to mark: the likeliest of those that were searched, which come in alphabetical order. */
function searchedType({ applied }, predicted, unsure) {
  if (unsure) return ANY;
  if (applied.scope === "inventory" || !applied.derived_types.length) return EVERYTHING;
  return predicted.find(({ label }) => applied.derived_types.includes(label))?.label ?? applied.derived_types[0];
}

/** Scrolls a choice that is wider than a phone to its chosen value, and leaves the page where it is. */
function showChosen(element) {
  const chosen = element.querySelector("input:checked").parentElement;
  const [outer, inner] = [element.getBoundingClientRect(), chosen.getBoundingClientRect()];
  if (inner.left < outer.left || inner.right > outer.right) element.scrollLeft += (inner.left + inner.right - outer.left - outer.right) / 2;
}

function headOf(unsure, offered) {
  if (unsure) return "Not sure what this is. Choose what it is, to see only that.";
  return offered.length ? "It looks like this. Not right? Choose what it is." : "What is it?";
}

/** Copies the photograph for the strip; screen readers know the first. */
function copyOf(canvas) {
  const copy = h("canvas.photo-copy", { width: canvas.width, height: canvas.height, aria: { hidden: true } });
  copy.getContext("2d").drawImage(canvas, 0, 0);
  return copy;
}

let types = null;

/** Lists the derived types of the catalogue in alphabetical order; sends one request at most. */
function derivedTypes() {
  types ??= listFacets([]).then(
    (answer) => (answer.facets.find((facet) => facet.attribute === "derived_type")?.values ?? []).map((each) => each.value).sort(),
    (error) => {
      types = null;
      throw error;
    },
  );
  return types;
}
