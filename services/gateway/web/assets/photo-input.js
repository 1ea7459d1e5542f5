/** The shopper's photographs: chosen, taken, dropped or pasted. The page keeps the last one in memory. */

import { h, icon } from "./dom.js";
import { WHOLE } from "./crop-box.js";

// The model's input is far smaller, so more pixels add nothing, and fewer are sent faster from a phone.
const LONGEST_SIDE = 1600;
// Pixels. A small photograph is enlarged, so that the handles of its box do not cover it.
const SHOWN_AT_LEAST = 480;
const SENT_AS_IT_IS = new Set(["image/jpeg", "image/png", "image/webp"]);
const SENT_AT_MOST = 8 * 1024 * 1024;
const JPEG_QUALITY = 0.92;

/**
 * Its garments are those that the gateway has found; none unless there are several, null while nobody has looked.
 *
 * @type {{file: Blob, canvas: HTMLCanvasElement, box: object, chosenType: string, garments: object[] | null} | null}
 */
let kept = null;

/** Returns the last photograph; null if there is none. */
export function keptPhotograph() {
  return kept;
}

/** Forgets the photograph. */
export function dropPhotograph() {
  kept = null;
}

/**
 * Reads a file as a photograph, rotates it upright, and keeps it.
 *
 * @throws {Error} with a sentence for shoppers: it is no picture that the browser can read.
 */
export async function takePhotograph(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This file cannot be read as a picture. Try a JPEG, PNG or WebP file.");
  }
  const longest = Math.max(bitmap.width, bitmap.height);
  const scale = longest > LONGEST_SIDE ? LONGEST_SIDE / longest : Math.max(1, SHOWN_AT_LEAST / longest);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Your photograph");
  const asItIs = scale >= 1 && SENT_AS_IT_IS.has(file.type) && file.size <= SENT_AT_MOST;
  const sent = asItIs ? file : await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
  kept = { file: sent, canvas, box: { ...WHOLE }, chosenType: "", garments: null };
  return kept;
}

/** Returns the picture among dropped or pasted items; null if there is none. */
export function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? transfer?.files?.[0] ?? null;
}

/** Makes the button that chooses a file and, on a device with a camera, the one that takes a photograph. */
export function photoButtons(taken, { first = "Choose a photograph", plain = false } = {}) {
  const input = (label, camera) => {
    const field = h("input.unseen", {
      type: "file",
      accept: "image/*",
      tabIndex: -1,
      aria: { label },
      on: {
        change: () => {
          if (field.files[0]) taken(field.files[0]);
          field.value = "";
        },
      },
    });
    if (camera) field.setAttribute("capture", "environment");
    return field;
  };
  const file = input(first, false);
  const camera = input("Take a photograph", true);
  const style = plain ? "button.button.plain" : "button.button";
  return [
    file,
    camera,
    h(style, { type: "button", on: { click: () => file.click() } }, icon("upload"), first),
    matchMedia("(pointer: coarse)").matches ? h("button.button.plain", { type: "button", on: { click: () => camera.click() } }, icon("camera"), "Take one") : null,
  ];
}

/** Accepts photographs that are dropped or pasted anywhere on the page, until the signal aborts. */
export function listenForPictures(element, taken, signal) {
  let depth = 0;
  const shade = (by) => {
    depth = Math.max(0, depth + by);
    element.classList.toggle("dragging", depth > 0);
  };
  addEventListener("dragenter", (event) => (event.preventDefault(), shade(1)), { signal });
  addEventListener("dragleave", () => shade(-1), { signal });
  addEventListener("dragover", (event) => event.preventDefault(), { signal });
  addEventListener(
    "drop",
    (event) => {
      event.preventDefault();
      shade(-Infinity);
      const file = pictureIn(event.dataTransfer);
      if (file) taken(file);
    },
    { signal },
  );
  addEventListener(
    "paste",
    (event) => {
      const file = pictureIn(event.clipboardData);
      if (file) taken(file);
    },
    { signal },
  );
}
