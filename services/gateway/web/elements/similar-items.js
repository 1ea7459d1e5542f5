/**
 * <similar-items product-id="10014">: products similar to one of the shop's, for any page; see docs/element.md.
 * It must never break a page: on any failure it hides itself and fires `similar-items:error`. Old browsers parse it.
 */

const TIMEOUT_MS = 4000;
const DEFAULT_LIMIT = 8;
const MAX_LIMIT = 100;
const MAX_EXCLUDED = 500;
const ATTRIBUTES = ["product-id", "limit", "exclude", "filter", "min-similarity", "currency", "user-token", "user-id",
  "gateway", "heading", "colours"];
// A move of 3 pixels in a frame counts as a shift of the layout.
const FOLD_PIXELS = 2;

// A card takes the same room before it loads, and without a price.
const STYLES = `
:host { display: block; container-type: inline-size; color: var(--similar-items-ink, inherit); font: var(--similar-items-font, inherit);
  --gap: var(--similar-items-gap, 16px); --width: var(--similar-items-card-width, 168px); --radius: var(--similar-items-radius, 8px); }
:host([hidden]) { display: none; }
* { box-sizing: border-box; }
section { position: relative; }
h2 { margin: 0 0 var(--gap); font: inherit; font-size: 1.25em; font-weight: 600; line-height: 1.3; }
ul { display: flex; gap: var(--gap); margin: 0; margin-inline-start: -4px; padding: 4px; list-style: none;
  overflow-x: auto; scrollbar-width: none; scroll-padding: 4px; scroll-snap-type: x proximity; }
ul::-webkit-scrollbar { display: none; }
[aria-busy="true"] ul { opacity: 0.6; }
li { flex: none; width: 44%; width: min(var(--width), 44cqi - 12px); scroll-snap-align: start; }
.card { display: block; width: 100%; padding: 0; border: 0; border-radius: var(--radius); background: none;
  color: inherit; font: inherit; text-align: start; text-decoration: none; cursor: pointer; }
.card:focus-visible { outline: 2px solid var(--similar-items-focus, Highlight); outline-offset: 2px; }
.tile { display: block; position: relative; padding-top: 133.33%; overflow: hidden; border-radius: var(--radius);
  background: var(--similar-items-tile, #f3f1ee); }
img, .empty, .arrow { position: absolute; }
img { top: 0; left: 0; width: 100%; height: 100%; object-fit: contain; mix-blend-mode: multiply; }
.empty { top: 32%; bottom: 34%; left: 26%; right: 26%; background: #8b857d55;
  clip-path: polygon(30% 0, 50% 10%, 70% 0, 100% 22%, 88% 42%, 77% 35%, 77% 100%, 23% 100%, 23% 35%, 12% 42%, 0 22%); }
.card:hover .name { text-decoration: underline; }
.name, .facts { display: block; height: 1.4em; overflow: hidden; font-size: 0.875em; line-height: 1.4; }
.name { height: 2.8em; margin-top: 8px; overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
.facts { color: var(--similar-items-muted, inherit); }
.price:not(:empty) + :not(:empty)::before { content: " · "; }
.skeleton > * { border-radius: var(--radius); background: var(--similar-items-tile, #8882); }
.arrow { top: 40%; right: 8px; width: 40px; height: 40px; padding: 0 0 4px; border: 0; border-radius: 50%;
  background: #fff; box-shadow: 0 1px 6px #0004; color: #222; font: 26px/1 sans-serif; cursor: pointer; }
.arrow.back { right: auto; left: 8px; }
@keyframes wait { 50% { opacity: 0.5; } }
@media (prefers-reduced-motion: no-preference) { .skeleton > * { animation: wait 1.6s infinite; } }
`;

const views = new WeakMap();
// Addresses of pictures that failed.
const broken = new Set();
// Answers that elements show or wait for, by address and token.
const answers = new Map();
let folded = 0;

/** Makes an element with attributes. Text is always text, never markup. */
function make(tag, attributes, children = []) {
  const element = document.createElement(tag);
  for (const key of Object.keys(attributes)) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}

/** Returns an http(s) URL, or null: data may hold "javascript:". */
function webUrl(value, base) {
  try {
    const url = new URL(text(value) || "no:", base);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch (error) {
    return null;
  }
}

function text(...values) {
  return values.find((value) => typeof value === "string" && value) || "";
}

/** Returns the user of a token, which the gateway checks. */
function subjectOf(token) {
  try {
    const payload = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const bytes = Uint8Array.from(payload, (each) => each.charCodeAt(0));
    return text(JSON.parse(new TextDecoder().decode(bytes)).sub);
  } catch (error) {
    return "";
  }
}

/** Returns a price as a text; "" for one in another currency than the page's, where that has one. */
function priceText(price, language, currency) {
  if (!price || !price.currency || !isFinite(price.amount) || (currency && price.currency !== currency)) return "";
  for (const locale of [language || undefined, undefined]) {
    try {
      return new Intl.NumberFormat(locale, { style: "currency", currency: price.currency }).format(price.amount);
    } catch (error) {
      // Unknown to the browser.
    }
  }
  return `${price.amount} ${price.currency}`;
}

function addStyles(root) {
  try {
    // Works where a Content-Security-Policy forbids inline styles.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    root.adoptedStyleSheets = [sheet];
  } catch (error) {
    root.append(make("style", {}, [STYLES]));
  }
}

function fire(host, name, detail) {
  return host.dispatchEvent(
    new CustomEvent(`similar-items:${name}`, { bubbles: true, composed: true, cancelable: name === "select", detail }),
  );
}

/** Shows the first picture that loads. Each gets a new element, since a changed one loads again. */
function fillTile(tile, pictures) {
  const [first, ...others] = pictures.filter(({ src }) => src && !broken.has(src));
  tile.textContent = "";
  if (!first) return tile.append(make("span", { part: "placeholder", class: "empty" }));
  const image = make("img", { part: "image", alt: "", loading: "lazy", decoding: "async", ...first });
  image.onerror = () => {
    broken.add(first.src);
    fillTile(tile, others);
  };
  tile.append(image);
}

/** Adds buttons that scroll a list, for a pointer; keys reach the cards. */
function addArrows(section, list) {
  const arrow = (way, glyph, share) => {
    const button = section.appendChild(
      make("button", { type: "button", part: "arrow", class: `arrow ${way}`, tabindex: -1, "aria-hidden": true }, [glyph]),
    );
    button.onclick = () => list.scrollBy(share * list.clientWidth, 0);
    return button;
  };
  const back = arrow("back", "‹", -0.8);
  const on = arrow("on", "›", 0.8);
  list.onscroll = () => {
    const passed = Math.abs(list.scrollLeft);
    back.hidden = passed < 8;
    on.hidden = list.scrollWidth - list.clientWidth - passed < 8;
  };
  new ResizeObserver(list.onscroll).observe(list);
}

/** Loads and draws the products of one element. */
class View {
  constructor(host) {
    this.host = host;
    this.round = 0;
  }

  connect() {
    if (!this.root) addStyles((this.root = this.host.attachShadow({ mode: "open" })));
    if (!this.list && !this.hiding) this.showSkeletons();
    if (this.seen) return this.reload();
    try {
      this.observer = new IntersectionObserver(
        (all) => all.some((each) => each.isIntersecting) && run(this.host, () => this.start()),
        { rootMargin: "400px" },
      );
      this.observer.observe(this.host);
    } catch (error) {
      this.start();
    }
  }

  start() {
    this.seen = true;
    this.disconnect();
    this.reload();
  }

  disconnect() {
    if (this.observer) this.observer.disconnect();
    if (!this.host.isConnected) this.abort();
  }

  abort() {
    this.round += 1;
    clearTimeout(this.timer);
    if (this.leave) this.leave();
  }

  reload() {
    if (this.scheduled) return;
    this.scheduled = true;
    Promise.resolve().then(() => {
      this.scheduled = false;
      if (this.host.isConnected) this.load();
    });
  }

  attribute(name) {
    return this.host.getAttribute(name) || "";
  }

  /** Returns the text of an attribute, also an empty one. */
  words(name, otherwise) {
    return this.host.hasAttribute(name) ? this.attribute(name) : otherwise;
  }

  get gateway() {
    return new URL(this.attribute("gateway") || import.meta.url, document.baseURI);
  }

  get limit() {
    const limit = parseInt(this.attribute("limit"), 10);
    return limit > 0 && limit <= MAX_LIMIT ? limit : DEFAULT_LIMIT;
  }

  async load() {
    let round = 0;
    try {
      this.abort();
      round = this.round;
      if (!this.attribute("product-id")) throw new Error("The product-id is missing.");
      if (this.list) this.section.setAttribute("aria-busy", true);
      // Covers the response to its last byte.
      const late = new Promise((_, reject) => {
        this.timer = setTimeout(reject, TIMEOUT_MS, new Error(`The gateway timed out after ${TIMEOUT_MS / 1000} s.`));
      });
      const products = await Promise.race([this.fetch(), late]);
      if (this.round !== round) return;
      if (products.length === 0) throw new Error("There are no similar products.");
      this.show(products);
    } catch (error) {
      if (this.round === round) run(this.host, () => this.fail(error));
    }
  }

  get minSimilarity() {
    const least = parseFloat(this.attribute("min-similarity"));
    return least >= -1 && least <= 1 ? least : null;
  }

  get currency() {
    return this.attribute("currency").trim().toUpperCase();
  }

  /** Returns the address of the answer. */
  url(user) {
    const url = new URL(`/v1/products/${encodeURIComponent(this.attribute("product-id"))}/similar`, this.gateway);
    const parameters = url.searchParams;
    new URLSearchParams(this.attribute("filter")).forEach((value, name) => {
      // "..50" is a price in the page's currency.
      const amounts = name === "price" && /^[\d.]+$/.test(value);
      parameters.append(name, amounts && this.currency ? `${value} ${this.currency}` : value);
    });
    const excluded = this.attribute("exclude").split(",").map((id) => id.trim()).filter(Boolean);
    for (const id of excluded.slice(0, MAX_EXCLUDED)) parameters.append("excluded", id);
    parameters.set("limit", this.limit);
    if (this.minSimilarity !== null) parameters.set("min_similarity", this.minSimilarity);
    if (user) parameters.set("user_id", user);
    return url;
  }

  async fetch() {
    const token = this.attribute("user-token");
    const url = this.url(this.attribute("user-id") || subjectOf(token));
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const key = url + token;
    const answer = answers.get(key) || { users: new Set(), controller: new AbortController() };
    const { users, controller } = answer;
    answers.set(key, answer);
    users.add(this);
    this.leave = () => {
      users.delete(this);
      if (users.size) return;
      answers.delete(key);
      controller.abort();
    };
    if (!answer.json) {
      answer.json = fetch(url.href, { headers, signal: controller.signal, credentials: "omit" }).then((response) => {
        if (!response.ok) throw new Error(`The gateway answered ${response.status}.`);
        return response.json();
      });
    }
    const { products } = await answer.json;
    if (!Array.isArray(products)) throw new Error("The answer holds no products.");
    const found = products.filter((each) => each && each.product && text(each.product.id));
    // Those that look the same as an earlier one come last.
    const looks = new Set();
    const first = found.filter(({ product, similarity }) => looks.size < looks.add(product.derived_type + similarity).size);
    return [...new Set([...first, ...found])];
  }

  show(products) {
    const cards = () => [...this.root.querySelectorAll(".card")];
    const focused = cards().indexOf(this.root.activeElement);
    const scrolled = focused >= 0 ? this.list.scrollLeft : 0;
    const items = products.map((each, position) => make("li", { part: "item" }, [this.card(each, position)]));
    this.draw(make("ul", { part: "list", role: "list" }, items), false);
    if (focused < 0) return;
    cards()[Math.min(focused, items.length - 1)].focus({ preventScroll: true });
    this.list.scrollLeft = scrolled;
  }

  card({ product, variants }, position) {
    const href = webUrl(product.url, document.baseURI);
    const source = webUrl(product.image, this.gateway);
    const own = source && { srcset: `${source}?width=240, ${source}?width=480 2x`, src: `${source}?width=240` };
    const line = (part, ...content) => make("span", { part, class: part }, content);
    const tile = line("tile");
    fillTile(tile, [own || {}, { src: webUrl(product.image_url, document.baseURI) }]);
    // Those that can be bought.
    const bought = (each) => each && each.in_stock !== false && each.base_colour;
    const colours = new Set([].concat(product, variants).map(bought).filter(Boolean)).size;
    const card = make(href ? "a" : "button", { part: "card", class: "card", [href ? "href" : "type"]: href || "button" }, [
      tile,
      line("name", text(product.name, product.derived_type, product.id)),
      make("span", { class: "facts" }, [
        line("price", priceText(product.price, (this.host.closest("[lang]") || {}).lang, this.currency)),
        line("colours", colours > 1 ? this.words("colours", "{} colours").replace("{}", colours) : ""),
      ]),
    ]);
    card.onclick = (event) => {
      if (!fire(this.host, "select", { product, position })) event.preventDefault();
    };
    return card;
  }

  showSkeletons() {
    const parts = () => ["tile", "name", "facts"].map((name) => make("span", { class: name }));
    const item = () => make("li", { part: "skeleton", class: "skeleton" }, parts());
    const items = Array.from({ length: Math.min(this.limit, 6) }, item);
    this.draw(make("ul", { part: "list", "aria-hidden": true }, items), true);
  }

  draw(list, busy) {
    if (this.unfold) this.unfold();
    const name = "Similar products";
    const heading = this.words("heading", name);
    const section = make("section", { part: "section", "aria-busy": busy, "aria-label": heading || name });
    if (heading) section.append(make("h2", { part: "heading" }, [heading]));
    section.append(list);
    if (this.section) this.section.remove();
    this.list = list;
    this.section = this.root.appendChild(section);
    if (!busy) addArrows(section, list);
    // A page may hide it too.
    if (this.hiding) this.host.hidden = this.hiding = false;
  }

  fail(error) {
    this.abort();
    this.list = null;
    if (this.unfold) this.unfold();
    this.fold();
    fire(this.host, "error", { why: String((error && error.message) || error) });
  }

  /** Hides the element. What is below moves up slowly, since a jump would be a shift of the layout. */
  fold() {
    const { host, section } = this;
    const { style } = host;
    let next = host.nextElementSibling;
    while (next && !next.getClientRects().length) next = next.nextElementSibling;
    const parent = host.parentElement || document.body;
    const below = () => (next ? next.getBoundingClientRect().top : parent.getBoundingClientRect().bottom);
    const margin = parseFloat(getComputedStyle(host).marginBottom);
    const { display, marginBottom } = style;
    const before = below();
    style.display = "none";
    const whole = before - below();
    let left = whole;
    style.display = display;
    this.unfold = () => {
      cancelAnimationFrame(this.frame);
      style.marginBottom = marginBottom;
    };
    const step = (now) => {
      const { top } = host.getBoundingClientRect();
      // One element moves in a frame, as the moves of several would add up.
      if (now !== folded) left -= FOLD_PIXELS;
      folded = now;
      if (left > 0 && top < innerHeight && !document.hidden) {
        style.marginBottom = `${margin - whole + left}px`;
        this.frame = requestAnimationFrame(step);
        return;
      }
      this.unfold();
      if (section) section.remove();
      if (!host.hidden) host.hidden = this.hiding = true;
    };
    if (section) section.style.visibility = "hidden";
    step(folded);
  }
}

/** Runs a step for an element. A failure hides it, also where the browser or the page leaves it no view. */
function run(host, step) {
  try {
    const view = views.get(host);
    if (view) step(view);
  } catch (error) {
    try {
      host.hidden = true;
      fire(host, "error", { why: String(error) });
    } catch (second) {
      // The page has replaced these functions.
    }
  }
}

class SimilarItems extends HTMLElement {
  static get observedAttributes() {
    return ATTRIBUTES;
  }

  connectedCallback() {
    if (!views.has(this)) views.set(this, new View(this));
    run(this, (view) => {
      for (const name of Object.keys(PROPERTIES)) {
        // Set before the browser knew the element.
        if (!Object.prototype.hasOwnProperty.call(this, name)) continue;
        const value = this[name];
        delete this[name];
        this[name] = value;
      }
      view.connect();
    });
  }

  disconnectedCallback() {
    run(this, (view) => view.disconnect());
  }

  attributeChangedCallback(_name, before, after) {
    if (before !== after) run(this, (view) => view.seen && view.reload());
  }

  /** Loads the products again, such as after a change of colours. Joins simultaneous calls. */
  reload() {
    answers.clear();
    run(this, (view) => view.reload());
  }
}

/** Each attribute is a property too; null, undefined and "" take it away, but an empty heading or colours is none. */
const PROPERTIES = {};
for (const name of ATTRIBUTES) {
  PROPERTIES[name.replace(/-./g, (each) => each[1].toUpperCase())] = {
    configurable: true,
    enumerable: true,
    get() {
      if (name === "limit") return new View(this).limit;
      if (name === "min-similarity") return new View(this).minSimilarity;
      return this.getAttribute(name) || "";
    },
    set(value) {
      const absent = value === null || value === undefined || (String(value) === "" && !/heading|colours/.test(name));
      if (absent) this.removeAttribute(name);
      else this.setAttribute(name, value);
    },
  };
}

try {
  Object.defineProperties(SimilarItems.prototype, PROPERTIES);
  if (!customElements.get("similar-items")) customElements.define("similar-items", SimilarItems);
} catch (error) {
  // No custom elements: the tag stays empty.
}
