// What the shop does by itself: it works whether or not similar products are shown.
document.getElementById("pay").addEventListener("click", () => {
  document.getElementById("paid").textContent = "Thank you.";
});

// A product without a page of its own is put into the cart; one with a `url` is followed by the browser.
document.addEventListener("similar-items:select", (event) => {
  const { product, position } = event.detail;
  if (product.url) return;
  document.getElementById("paid").textContent = `${product.name ?? product.id} was added (no. ${position + 1}).`;
});

// Where the element's script never arrives, its room is given back as soon as the shopper does not see it.
addEventListener("load", () => {
  if (window.customElements?.get("similar-items")) return;
  const rooms = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (!isIntersecting) target.hidden = true;
  });
  for (const element of document.querySelectorAll("similar-items")) rooms.observe(element);
});
