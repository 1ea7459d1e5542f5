/** Starts the storefront. */

import { setUpColours } from "./colours.js";
import { icon } from "./dom.js";
import { start } from "./router.js";
import { session } from "./session.js";

for (const link of document.querySelectorAll("[data-nav]")) link.prepend(icon(link.dataset.nav));
setUpColours();
void session.ready();
void start(document.getElementById("content"));
