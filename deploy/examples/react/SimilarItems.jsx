import { useEffect, useRef } from "react";

/** Loads the element's script once for a page, whichever components ask for it. */
function load(gateway, integrity, version) {
  const src = `${gateway}/elements/similar-items${version ? `-${version}` : ""}.js`;
  if (document.querySelector(`script[src="${CSS.escape(src)}"]`)) return;
  const script = document.createElement("script");
  Object.assign(script, { type: "module", crossOrigin: "anonymous", src });
  if (integrity) script.integrity = integrity;
  document.head.append(script);
}

/**
 * Products similar to one of the shop's, for React 18 and 19.
 *
 * `exclude` is a list of ids, such as those in the cart; `filter` an object of the gateway's filter parameters. `version`
 * and `integrity` are those of /elements/manifest.json, where a page loads one version for good. `onSelect` gets the
 * event `similar-items:select`, whose `detail` has the product; `onError` gets `similar-items:error`.
 */
export function SimilarItems({
  gateway,
  productId,
  limit = 8,
  exclude = [],
  filter = {},
  minSimilarity,
  currency,
  userToken,
  heading,
  version,
  integrity,
  onSelect,
  onError,
}) {
  const element = useRef(null);

  useEffect(() => load(gateway, integrity, version), [gateway, integrity, version]);

  useEffect(() => {
    const { current } = element;
    const listeners = { "similar-items:select": onSelect, "similar-items:error": onError };
    const given = Object.entries(listeners).filter(([, listener]) => listener);
    for (const [name, listener] of given) current.addEventListener(name, listener);
    return () => given.forEach(([name, listener]) => current.removeEventListener(name, listener));
  }, [onSelect, onError]);

  const conditions = new URLSearchParams();
  for (const [name, values] of Object.entries(filter)) {
    for (const value of [values].flat()) conditions.append(name, value);
  }
  return (
    <similar-items
      ref={element}
      gateway={gateway}
      product-id={productId}
      limit={limit}
      exclude={exclude.join(",") || undefined}
      filter={conditions.toString() || undefined}
      min-similarity={minSimilarity}
      currency={currency}
      user-token={userToken}
      heading={heading}
    />
  );
}
