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
