// A whole picture with a numbered box round each face.

import { h, svg, vary } from "./dom.js";

/** The picture; pressing a number calls `choose(i)`. Returns {node, point(i)}, which shows which box is meant. */
export function boxed(url, faces, choose) {
  const frame = h("div", { class: "boxed" });
  const image = h("img", { alt: `Picture with ${faces.length} numbered faces`, src: url });
  const buttons = faces.map((face, i) =>
    h("button", { type: "button", class: `number is-${face.verdict || "none"}`, "aria-label": `Go to face ${face.number}`, onclick: () => choose(i) },
      String(face.number)));
  let rects = [];
  image.addEventListener("load", () => {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    rects = faces.map((face) => svg("rect", rectOf(face.box)));
    buttons.forEach((button, i) => {
      const [left, top] = faces[i].box;
      const inside = (value, most) => `${(100 * Math.min(Math.max(value / most, 0), 0.98)).toFixed(2)}%`;
      vary(button, { "--left": inside(left, width), "--top": inside(top, height) });
    });
    const lines = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, rects);
    frame.append(lines, ...buttons);
  });
  image.addEventListener("error", () => frame.replaceChildren(h("p", { class: "hint" }, "The browser cannot show this kind of picture.")));
  frame.append(image);
  const point = (i) => rects.forEach((rect, at) => rect.classList.toggle("pointed", at === i));
  return { node: h("figure", { class: "whole" }, frame), point };
}

function rectOf([x, y, width, height]) {
  return { x, y, width, height, rx: Math.min(width, height) * 0.06 };
}
