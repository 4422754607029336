// A wall of faces, hardest first, divided where the threshold lies.

import { h, unique } from "./dom.js";
import { count, fixed, percent } from "./words.js";

const AT_ONCE = 400;

/** The wall of sorted faces. Returns {node, divide(rejected)}. */
export function tiles(known) {
  const wall = h("ul", { class: "wall", id: unique("wall") });
  const divider = h("li", { class: "divider" });
  const more = h("button", { type: "button" }, "Show more");
  const shown = [];
  let [rejected, hardestFirst] = [0, true];

  const grow = () => {
    const order = hardestFirst ? known : [...known].reverse();
    const next = order.slice(shown.length, shown.length + AT_ONCE).map((face) => tile(face));
    shown.push(...next);
    wall.append(...next);
    more.hidden = shown.length >= known.length;
    divide(rejected);
  };
  const divide = (below) => {
    rejected = below;
    const first = hardestFirst ? below : known.length - below; // the first behind the divider
    shown.forEach((each, i) => each.classList.toggle("rejected", hardestFirst ? i < below : i >= first));
    const [before, behind] = hardestFirst ? ["rejected", "kept"] : ["kept", "rejected"];
    divider.replaceChildren(h("span", {}, `← ${count(first, "face")} ${before}`), h("span", {}, `${count(known.length - first, "face")} ${behind} →`));
    wall.insertBefore(divider, shown[first] || null);
  };
  const order = h("button", { type: "button", class: "quiet small" }, "Order: hardest first");
  order.addEventListener("click", () => {
    hardestFirst = !hardestFirst;
    order.textContent = `Order: ${hardestFirst ? "hardest" : "easiest"} first`;
    shown.length = 0;
    wall.replaceChildren();
    grow();
  });
  more.addEventListener("click", grow);
  grow();
  return { node: h("section", { "aria-label": "Faces" }, h("div", { class: "bar" }, h("h2", {}, count(known.length, "face")), order), wall, h("div", { class: "buttons" }, more)), divide };
}

function tile(face) {
  const own = face.picture ? `data:image/jpeg;base64,${face.picture}` : URL.createObjectURL(face.source);
  const image = h("img", { src: own, alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: "blank" })));
  const value = face.score === null ? fixed(face.recognizability) : percent(face.score);
  const name = face.box ? `${face.file}, face ${face.number}` : face.file;
  return h("li", { class: `tile is-${face.verdict || "none"}`, title: `${name} · index ${fixed(face.recognizability)}` },
    image, h("span", { class: "value" }, value), h("span", { class: "unseen" }, name));
}
