/** The panel of colours to leave out. */

import { catalogueFacets } from "./api.js";
import { announce, h, icon } from "./dom.js";
import { swatch } from "./parts.js";
import { session } from "./session.js";

/** Returns the catalogue's colours, {value, family, swatch, count} each. */
export async function catalogueColours() {
  return (await catalogueFacets()).find(({ kind }) => kind === "colour")?.values ?? [];
}

/** Sets up the button in the masthead. */
export function setUpColours() {
  const button = document.getElementById("colours-button");
  button.addEventListener("click", () => void openPanel());
  session.addEventListener("change", () => void describe(button));
}

async function describe(button) {
  button.hidden = !session.available;
  const count = session.disliked.length;
  document.getElementById("colours-label").textContent = count ? `Hiding ${count}` : "Colours";
  button.setAttribute("aria-label", count ? `Colours: ${session.disliked.map((each) => each.colour).join(", ")} hidden` : "Colours");
  const colours = await catalogueColours().catch(() => []);
  const dots = session.disliked.slice(0, 3).map(({ colour }) => swatch(paintOf(colours, colour)));
  document.getElementById("colours-dots").replaceChildren(...(count ? dots : [icon("colours")]));
}

/** Returns the paint of a colour or a family; null if it is unknown. */
export function paintOf(colours, name) {
  return (colours.find((each) => each.value === name) ?? colours.find((each) => each.family === name))?.swatch ?? null;
}

async function openPanel() {
  const body = h("div.panel-body", {}, h("p.faint", {}, "Loading colours …"));
  const dialog = h(
    "dialog.panel",
    { id: "colours-panel", aria: { labelledby: "colours-title" } },
    h(
      "div.panel-head",
      {},
      h("h2", { id: "colours-title" }, "Colours to leave out"),
      h("button.quiet.square", { type: "button", aria: { label: "Close" }, on: { click: () => dialog.close() } }, icon("close")),
    ),
    body,
  );
  // A click on the backdrop has the dialog itself as its target.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    const colours = await catalogueColours();
    const redraw = () => keepingFocus(dialog, () => body.replaceChildren(...panelParts(colours, body)));
    redraw();
    const listen = new AbortController();
    session.addEventListener("change", redraw, { signal: listen.signal });
    dialog.addEventListener("close", () => listen.abort());
  } catch (error) {
    body.replaceChildren(h("p", { role: "alert" }, error.message));
  }
}

function panelParts(colours, body) {
  const families = new Map();
  for (const colour of colours) {
    const family = colour.family || colour.value;
    families.set(family, [...(families.get(family) ?? []), colour]);
  }
  const shades = [...families].filter(([family, members]) => members.some((each) => each.value !== family));
  const wasOpen = body.querySelector("details")?.open ?? false;
  return [
    h("p", {}, "Products in these colours never appear among similar products, and stay hidden while you browse."),
    h(
      "div.swatches",
      {},
      [...families].map(([family, members]) =>
        toggle(family, paintOf(colours, family), false, members.reduce((sum, each) => sum + each.count, 0)),
      ),
    ),
    shades.length
      ? h(
          "details.shades",
          { open: wasOpen },
          h("summary", {}, "Single shades"),
          h("p.faint", {}, "Leaves out this shade alone, and keeps the rest of its family."),
          h(
            "div.swatches.small",
            {},
            shades.flatMap(([family, members]) =>
              members.filter((each) => each.value !== family).map((each) => toggle(each.value, each.swatch, true, each.count)),
            ),
          ),
        )
      : null,
    session.disliked.length
      ? h("p", {}, h("button.link", { type: "button", on: { click: () => void attempt(body, () => session.forget()) } }, "Forget all my colours"))
      : null,
    h("p.panel-error", { role: "alert" }),
  ].filter(Boolean);

  function toggle(name, paint, exact, count) {
    const own = session.disliked.find((each) => each.colour === name);
    const covered = !own && session.disliked.some((each) => each.covers.includes(name));
    const change = () => (own ? session.forgive(name) : session.dislike(name, exact));
    return h(
      "button.swatch-button",
      {
        type: "button",
        disabled: covered,
        data: { key: `${exact}-${name}` },
        title: `${name}: ${count}`,
        aria: { pressed: Boolean(own) || covered },
        on: {
          click: () =>
            void attempt(body, async () => {
              await change();
              announce(own ? `${name} is shown again` : `${name} is left out`);
            }),
        },
      },
      swatch(paint),
      h("span", {}, name),
    );
  }
}

async function attempt(body, change) {
  try {
    await change();
  } catch (error) {
    body.querySelector(".panel-error").textContent = error.message;
  }
}

/** Redraws a part of the page, and returns the focus to the element with the same `data-key`. */
export function keepingFocus(container, redraw) {
  const key = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  redraw();
  if (key !== undefined) container.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}
