/** Requests to the gateway: addresses, deadlines, and problem documents (RFC 9457) as errors. */

const TIMEOUT_MS = 15_000;

/** The failure of a request, in words for shoppers. */
export class ApiError extends Error {
  /**
   * @param {string} message - one sentence for people.
   * @param {{status?: number, reason?: string, requestId?: string, offline?: boolean}} [facts]
   */
  constructor(message, { status = 0, reason = "", requestId = "", offline = false } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
    this.requestId = requestId;
    this.offline = offline;
  }
}

/**
 * Sends a request and returns the JSON of the response, or null if there is none (204).
 *
 * @param {string} path - such as "/v1/products".
 * @param {{query?: Iterable<[string, unknown]>, method?: string, body?: BodyInit, token?: string, signal?: AbortSignal}} [options]
 * @throws {ApiError} on any failure, except an abort by `signal`, which stays an AbortError.
 */
export async function request(path, { query = [], method = "GET", body, token, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of query) if (value !== "" && value != null && value !== false) url.searchParams.append(name, value);
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  let content = null;
  try {
    answer = await fetch(url, { method, body, headers, signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
    if (answer.status !== 204) content = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw new DOMException("no longer wanted", "AbortError");
    if (deadline.aborted) throw new ApiError("The shop takes too long to answer.", { offline: true });
    if (answer) throw new ApiError("The shop gave an answer that cannot be read.", { status: answer.status });
    throw new ApiError("The shop cannot be reached.", { offline: true });
  }
  if (!answer.ok) {
    throw new ApiError(content?.detail || content?.title || `The shop answered ${answer.status}.`, {
      status: answer.status,
      reason: content?.reason ?? "",
      requestId: content?.request_id ?? answer.headers.get("x-request-id") ?? "",
    });
  }
  return content;
}

/** Lists a page of products. `filters` are pairs of names and values. */
export function listProducts(filters, { pageSize, pageToken, signal } = {}) {
  return request("/v1/products", {
    query: [...filters, ["page_size", pageSize], ["page_token", pageToken]],
    signal,
  });
}

/** Lists the values of each attribute with their counts. */
export function listFacets(filters, { signal } = {}) {
  return request("/v1/facets", { query: filters, signal });
}

let whole = null;

/** Returns the facets of the whole catalogue, which also name its attributes. Sends one request at most. */
export function catalogueFacets() {
  whole ??= listFacets([]).then(
    ({ facets }) => facets,
    (error) => {
      whole = null;
      throw error;
    },
  );
  return whole;
}

// Fewer products than this tell too little about what is usual.
const LEAST_MEASURED = 100;
let usual = null;

/**
 * Returns the similarity to their nearest that 99 % of the catalogue's products exceed; null while it is unknown, and in
 * a small catalogue. Never fails, and sends one request at most once it is known.
 */
export function leastUsualSimilarity() {
  usual ??= request("/v1/index").then(
    ({ nearest_similarity: measured }) => {
      if (measured === null) usual = null;
      return measured?.product_count >= LEAST_MEASURED ? measured.quantiles[0].similarity : null;
    },
    () => (usual = null),
  );
  return usual;
}

/** Returns one product. */
export function getProduct(id, { signal } = {}) {
  return request(`/v1/products/${encodeURIComponent(id)}`, { signal });
}

/** Finds products similar to one of the catalogue. */
export function findSimilar(id, { query, token, signal }) {
  return request(`/v1/products/${encodeURIComponent(id)}/similar`, { query, token, signal });
}

/** Finds products similar to a photograph. */
export function findSimilarToPhotograph(photograph, { query, token, signal }) {
  const form = new FormData();
  form.append("image", photograph, "photograph");
  for (const [name, value] of query) if (value !== "" && value != null && value !== false) form.append(name, String(value));
  return request("/v1/similar", { method: "POST", body: form, token, signal });
}

/** Returns the address of a product's picture, `width` pixels wide; null if it has none. */
export function pictureOf(product, width) {
  return product.image ? `${product.image}?width=${width}` : null;
}
