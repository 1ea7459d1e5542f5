/**
 * <similar-items>: products similar to one of the shop's, for any page. One file, no dependencies; see docs/element.md.
 *
 *   <script type="module" src="https://GATEWAY/elements/similar-items.js"></script>
 *   <similar-items product-id="10014" user-token="…" limit="8"></similar-items>
 *
 * It must never break a page: on any failure it hides itself and fires `similar-items:error`.
 */

const TIMEOUT_MS = 4000;
const DEFAULT_LIMIT = 8;
const MAX_LIMIT = 100;

const STYLES = `
:host {
  display: block;
  container-type: inline-size;
  color: var(--similar-items-ink, inherit);
  font: var(--similar-items-font, inherit);
  --gap: var(--similar-items-gap, 16px);
  --width: var(--similar-items-card-width, 168px);
}
:host([hidden]) { display: none; }
* { box-sizing: border-box; }
h2 { margin: 0 0 var(--gap); font: inherit; font-size: 1.25em; font-weight: 600; line-height: 1.3; }
ul {
  display: flex;
  gap: var(--gap);
  margin: 0;
  padding: 4px;
  overflow-x: auto;
  scroll-snap-type: x proximity;
  scroll-padding: 4px;
  list-style: none;
}
li { flex: 0 0 min(var(--width), 44cqi); scroll-snap-align: start; }
.card {
  display: block;
  width: 100%;
  padding: 0;
  border: 0;
  border-radius: var(--similar-items-radius, 8px);
  background: none;
  color: inherit;
  font: inherit;
  text-align: start;
  text-decoration: none;
  cursor: pointer;
}
.card:focus-visible { outline: 2px solid var(--similar-items-focus, Highlight); outline-offset: 2px; }
.tile {
  display: block;
  position: relative;
  aspect-ratio: 3 / 4;
  overflow: hidden;
  border-radius: var(--similar-items-radius, 8px);
  background: var(--similar-items-tile, #f3f1ee);
}
img {
  position: absolute;
  inset: 0;
  width: 100%;
  height: 100%;
  object-fit: contain;
  mix-blend-mode: multiply;
  transition: transform 0.3s ease;
}
.card:hover img { transform: scale(1.03); }
.name, .price { display: block; font-size: 0.875em; line-height: 1.4; }
.name {
  margin-top: 8px;
  overflow: hidden;
  overflow-wrap: anywhere;
  display: -webkit-box;
  -webkit-box-orient: vertical;
  -webkit-line-clamp: 2;
}
.price { color: var(--similar-items-muted, inherit); font-variant-numeric: tabular-nums; }
.line { display: block; height: 0.8em; margin-top: 8px; border-radius: 4px; }
.skeleton .tile, .line { background: var(--similar-items-tile, #8882); animation: wait 1.6s ease-in-out infinite; }
.line:last-child { width: 60%; }
@keyframes wait { 50% { opacity: 0.5; } }
@media (prefers-reduced-motion: reduce) {
  .skeleton .tile, .line { animation: none; }
  img { transition: none; }
  .card:hover img { transform: none; }
}
`;

// A constructed sheet also works on pages whose Content-Security-Policy forbids inline styles.
const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLES);

/** Makes an element; text is always text, never markup. */
function make(tag, { part, className, text, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (part) element.setAttribute("part", part);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

/** Returns an http(s) URL, or null: a shop's data may hold anything, "javascript:" too. */
function webUrl(value, base) {
  if (typeof value !== "string" || !value) return null;
  try {
    const url = new URL(value, base);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Returns the user of a token, unchecked: the gateway checks it. Saves the page an attribute. */
function subjectOf(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" ? sub : "";
  } catch {
    return "";
  }
}

function priceText(price, language) {
  const amount = Number(price?.amount);
  if (!price?.currency || !Number.isFinite(amount)) return "";
  try {
    return new Intl.NumberFormat(language || undefined, { style: "currency", currency: price.currency }).format(amount);
  } catch {
    return `${amount} ${price.currency}`;
  }
}

class SimilarItems extends HTMLElement {
  static observedAttributes = ["product-id", "user-token", "user-id", "limit", "gateway", "heading"];

  #root = this.attachShadow({ mode: "open" });
  #observer = null;
  #seen = false;
  #scheduled = false;
  #controller = null;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
  }

  connectedCallback() {
    this.#showSkeletons();
    if (this.#seen || typeof IntersectionObserver === "undefined") {
      this.#seen = true;
      this.reload();
      return;
    }
    this.#observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        this.#observer?.disconnect();
        this.#observer = null;
        this.#seen = true;
        this.reload();
      },
      { rootMargin: "400px" },
    );
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer?.disconnect();
    this.#observer = null;
    this.#controller?.abort();
  }

  attributeChangedCallback(_name, before, after) {
    if (before !== after && this.#seen) this.reload();
  }

  /** Loads the products again, such as after a change of the shopper's colours. Joins simultaneous calls. */
  reload() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.isConnected) void this.#load();
    });
  }

  get #gateway() {
    return new URL(this.getAttribute("gateway") || new URL(import.meta.url).origin, document.baseURI);
  }

  get #limit() {
    const limit = Number.parseInt(this.getAttribute("limit") ?? "", 10);
    return limit >= 1 && limit <= MAX_LIMIT ? limit : DEFAULT_LIMIT;
  }

  get #headingText() {
    return this.getAttribute("heading") ?? "Similar products";
  }

  async #load() {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    // Covers the response to its last byte: a gateway that hangs counts as down.
    const timer = setTimeout(() => controller.abort(), TIMEOUT_MS);
    try {
      if (!this.getAttribute("product-id")) throw new Error("The product-id is missing.");
      this.#showSkeletons();
      const products = await this.#fetch(controller.signal);
      if (this.#controller !== controller) return;
      if (products.length === 0) this.#collapse("There are no similar products.");
      else this.#show(products);
    } catch (error) {
      if (this.#controller === controller && this.isConnected) this.#collapse(String(error?.message ?? error));
    } finally {
      clearTimeout(timer);
    }
  }

  async #fetch(signal) {
    const token = this.getAttribute("user-token") ?? "";
    const user = this.getAttribute("user-id") || subjectOf(token);
    const id = encodeURIComponent(this.getAttribute("product-id"));
    const url = new URL(`/v1/products/${id}/similar`, this.#gateway);
    url.searchParams.set("limit", String(this.#limit));
    if (user) url.searchParams.set("user_id", user);
    const headers = { Accept: "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const answer = await fetch(url, { headers, signal, credentials: "omit", mode: "cors" });
    if (!answer.ok) throw new Error(`The gateway answered ${answer.status}.`);
    const { products } = await answer.json();
    if (!Array.isArray(products)) throw new Error("The answer holds no products.");
    return products.map((found) => found.product).filter((product) => product && typeof product.id === "string");
  }

  #show(products) {
    const list = make("ul", { part: "list" });
    list.setAttribute("role", "list");
    products.forEach((product, position) => {
      list.append(make("li", { part: "item" }, this.#card(product, position)));
    });
    this.#render(list, false);
  }

  #card(product, position) {
    const href = webUrl(product.url, document.baseURI);
    const name = typeof product.name === "string" && product.name ? product.name : (product.derived_type ?? product.id);
    const tile = make("span", { part: "tile", className: "tile" });
    const source = webUrl(product.image, this.#gateway);
    const fallback = webUrl(product.image_url, document.baseURI);
    if (source || fallback) {
      const image = make("img", { part: "image", alt: "", loading: "lazy", decoding: "async" });
      image.addEventListener("error", () => {
        image.srcset = "";
        if (fallback && image.src !== fallback) image.src = fallback;
        else image.remove();
      });
      if (source) image.srcset = `${source}?width=240, ${source}?width=480 2x`;
      image.src = source ? `${source}?width=240` : fallback;
      tile.append(image);
    }
    const card = make(href ? "a" : "button", { part: "card", className: "card" }, tile);
    if (href) card.href = href;
    else card.type = "button";
    card.append(make("span", { part: "name", className: "name", text: name }));
    const price = priceText(product.price, this.closest("[lang]")?.lang);
    if (price) card.append(make("span", { part: "price", className: "price", text: price }));
    card.addEventListener("click", (event) => {
      const goOn = this.dispatchEvent(
        new CustomEvent("similar-items:select", {
          bubbles: true,
          composed: true,
          cancelable: true,
          detail: { product, position },
        }),
      );
      if (!goOn) event.preventDefault();
    });
    return card;
  }

  #showSkeletons() {
    const list = make("ul", { part: "list" });
    list.setAttribute("aria-hidden", "true");
    for (let count = Math.min(this.#limit, 6); count > 0; count -= 1) {
      const tile = make("span", { className: "tile" });
      const lines = [make("span", { className: "line" }), make("span", { className: "line" })];
      list.append(make("li", { part: "skeleton", className: "skeleton" }, tile, ...lines));
    }
    this.#render(list, true);
  }

  #render(list, busy) {
    const section = make("section", { part: "section" });
    section.setAttribute("aria-busy", String(busy));
    section.setAttribute("aria-label", this.#headingText || "Similar products");
    if (this.#headingText) section.append(make("h2", { part: "heading", text: this.#headingText }));
    section.append(list);
    this.#root.replaceChildren(section);
    this.hidden = false;
  }

  #collapse(why) {
    this.#root.replaceChildren();
    this.hidden = true;
    this.dispatchEvent(new CustomEvent("similar-items:error", { bubbles: true, composed: true, detail: { why } }));
  }
}

if (!customElements.get("similar-items")) customElements.define("similar-items", SimilarItems);
