/** The session: this browser's demo user, its token, and the colours that it dislikes. */

import { request } from "./api.js";

const STORED_AS = "fashion.user";
// Time before its expiry at which a token is renewed, so that none expires during a request.
const RENEW_BEFORE_MS = 60_000;

/** Fires "change" after each change of the disliked colours. */
class Session extends EventTarget {
  /** Whether colours can be stored; false if the gateway signs no tokens for demo users. */
  available = true;
  /** @type {{colour: string, exact: boolean, covers: string[]}[]} */
  disliked = [];
  #userId = "";
  #token = "";
  #expires = 0;
  #starting = null;

  /** Reads the disliked colours; sends one request at most. */
  ready() {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  get userId() {
    return this.available ? this.#userId : "";
  }

  /** Returns the user's parameter for a query, and the token for it. */
  async credentials() {
    await this.ready();
    if (!this.available) return { query: [], token: undefined };
    await this.#renew();
    return { query: [["user_id", this.#userId]], token: this.#token };
  }

  /** Returns whether products of a colour are left out for this user. */
  covers(colour) {
    return this.disliked.some((each) => each.colour === colour || each.covers.includes(colour));
  }

  /** Adds a disliked colour, with its whole family unless `exact`. */
  dislike(colour, exact = false) {
    return this.#change("PUT", `/${encodeURIComponent(colour)}?exact=${exact}`);
  }

  /** Removes a disliked colour. */
  forgive(colour) {
    return this.#change("DELETE", `/${encodeURIComponent(colour)}`);
  }

  /** Erases all data about the user. */
  async forget() {
    const { token } = await this.credentials();
    await request(`/v1/users/${this.#userId}`, { method: "DELETE", token });
    this.disliked = [];
    this.dispatchEvent(new Event("change"));
  }

  async #change(method, rest) {
    const { token } = await this.credentials();
    const [path, query] = rest.split("?");
    await request(`/v1/users/${this.#userId}/disliked-colours${path}`, {
      method,
      query: new URLSearchParams(query),
      token,
    });
    await this.#read();
    this.dispatchEvent(new Event("change"));
  }

  async #start() {
    try {
      this.#userId = storedUser();
      await this.#renew();
      await this.#read();
    } catch {
      // Browsing works without a token; only colours are not stored.
      this.available = false;
    }
    this.dispatchEvent(new Event("change"));
  }

  async #renew() {
    if (this.#token && Date.now() < this.#expires - RENEW_BEFORE_MS) return;
    const session = await request("/storefront/session", { query: [["user_id", this.#userId]] });
    this.#userId = session.user_id;
    this.#token = session.token;
    this.#expires = expiry(session.expires_at);
  }

  async #read() {
    const answer = await request(`/v1/users/${this.#userId}/disliked-colours`, { token: this.#token });
    this.disliked = answer.colours.map((each) => ({ ...each, covers: each.covers ?? [] }));
  }
}

/** Parses seconds since 1970 or ISO 8601. */
function expiry(value) {
  const time = typeof value === "number" ? value * 1000 : Date.parse(value);
  return Number.isFinite(time) ? time : 0;
}

function storedUser() {
  let user = null;
  try {
    user = localStorage.getItem(STORED_AS);
  } catch {
    // A browser without storage gets a user for this visit.
  }
  if (/^demo-[0-9a-f]{16}$/.test(user ?? "")) return user;
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  user = `demo-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  try {
    localStorage.setItem(STORED_AS, user);
  } catch {
    // As above.
  }
  return user;
}

export const session = new Session();
