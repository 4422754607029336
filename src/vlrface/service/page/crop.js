// A face as it was looked at, and with the light only where the model looks.

import { h } from "./dom.js";

/** The crop of a face; with attention, a button beside it turns the light on and off. */
export function crop(face, fallback = null) {
  const source = face.picture ? jpeg(face.picture) : fallback;
  const picture = h("img", { class: "crop-picture", src: source, alt: `Face ${face.number} of ${face.file}` });
  const frame = h("div", { class: "crop" }, source ? picture : h("span", { class: "blank", "aria-hidden": "true" }));
  if (!face.attention || !face.seen) return { node: frame, toggle: null };
  const values = face.attention.flat();
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const alike = high - low < 0.005; // as where the network's attention is all or nothing
  const lit = h("figure", { class: "lit", hidden: true },
    h("img", { src: jpeg(face.seen), alt: `What the model sees of face ${face.number}, bright where it looks` }),
    !alike && veil(face.attention, low, high),
    h("figcaption", {}, alike ? "alike everywhere" : `${low.toFixed(2)} to ${high.toFixed(2)}`));
  frame.append(lit);
  const toggle = h("button", { type: "button", class: "quiet small", "aria-pressed": "false" }, "Attention");
  toggle.addEventListener("click", () => {
    lit.hidden = !lit.hidden;
    toggle.setAttribute("aria-pressed", String(!lit.hidden));
  });
  return { node: frame, toggle };
}

const jpeg = (base64) => `data:image/jpeg;base64,${base64}`;

/** A dark sheet over the picture, thin where the map is high; the browser smooths it as it grows. */
function veil(map, low, high) {
  const canvas = h("canvas", { width: map[0].length, height: map.length, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  map.flat().forEach((value, i) => {
    pixels.data.set([8, 14, 20, Math.round(205 * (1 - (value - low) / (high - low)))], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}
