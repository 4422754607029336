// Compare: two faces, and whether they are the same person's.

import { send, withQuery } from "./api.js";
import { announce, h, notice, svg, tick } from "./dom.js";
import { faceCard } from "./facecard.js";
import { shrunk } from "./fitting.js";
import { intake, pathOf } from "./intake.js";
import { fixed } from "./words.js";

/** The view. Returns {node, take(files)}. */
export function compareView(service) {
  const { model } = service;
  const find = model.detector && tick("Find the face in each picture", true, () => ask());
  const sides = ["First", "Second"].map((name) => slot(name, () => ask()));
  const result = h("div", { class: "results" });
  let asking = null;

  const ask = async () => {
    asking?.abort();
    const files = sides.map((side) => side.file());
    if (!files.every(Boolean)) return;
    asking = new AbortController();
    const { signal } = asking;
    result.replaceChildren(h("p", { class: "busy" }, "Comparing …"));
    const path = withQuery("/v1/verify", { detect: Boolean(find && find.box.checked), picture: true });
    try {
      const reply = await verified(model, path, files, signal);
      const cards = reply.faces.map((face, i) => faceCard(model, face, { fallback: sides[i].url(), label: ["First", "Second"][i] }));
      result.replaceChildren(outcome(reply), h("div", { class: "cards two" }, cards));
      announce(`${outcomeWords(reply)}. ${reply.reason}`);
    } catch (error) {
      if (error.name === "AbortError") return;
      result.replaceChildren(notice(error.message));
    }
  };
  const take = (files) => {
    if (files.length > 1) sides.forEach((side, i) => side.put(files[i]));
    else (sides.find((side) => !side.file()) || sides[1]).put(files[0]);
  };
  return { node: h("div", {}, h("div", { class: "slots" }, sides.map((side) => side.node)), find && h("div", { class: "options" }, find.node), result), take };
}

/** Ask; two pictures that are too large together are made smaller. */
async function verified(model, path, files, signal) {
  const ask = (some) => send(path, some.map((file, i) => [["first", "second"][i], file, pathOf(file)]), signal);
  try {
    return await ask(files);
  } catch (error) {
    const small = error.status === 413 ? await Promise.all(files.map((file) => shrunk(file, model.limits.pixels / 2))) : [null];
    if (small.includes(null)) throw error;
    return ask(small);
  }
}

/** A place for one picture. */
function slot(name, changed) {
  let file = null;
  let url = "";
  const shown = h("div", { class: "shown" });
  const put = (given) => {
    if (!given) return;
    URL.revokeObjectURL(url);
    [file, url] = [given, URL.createObjectURL(given)];
    const image = h("img", { src: url, alt: `${name} picture: ${pathOf(file)}` });
    image.addEventListener("error", () => shown.replaceChildren(h("span", { class: "hint" }, pathOf(file))));
    shown.replaceChildren(image);
    changed();
  };
  const zone = intake((files) => put(files[0]), { title: `${name} picture`, multiple: false, small: true });
  zone.prepend(shown);
  return { node: zone, put, file: () => file, url: () => url };
}

function outcomeWords({ same }) {
  return same === null ? "Cannot be said" : same ? "Match" : "No match";
}

function outcome(reply) {
  const kind = reply.same === null ? "unsaid" : reply.same ? "same" : "different";
  return h("section", { class: `outcome ${kind}`, "aria-label": "Answer" },
    h("h2", {}, outcomeWords(reply)), reply.cosine === null ? null : scale(reply), h("p", { class: "reason" }, reply.reason));
}

/** Where the cosine lies between opposite and equal, and where the threshold. */
function scale({ cosine, threshold }) {
  const x = (value) => 10 + 280 * Math.min(1, Math.max(0, (value + 0.2) / 1.2)); // below -0.2 no two faces ever are
  const words = `Cosine ${fixed(cosine, 3)}` + (threshold === null ? "" : `, threshold ${fixed(threshold, 3)}`);
  return svg("svg", { class: "scale", viewBox: "0 0 300 56", role: "img", "aria-label": words },
    svg("line", { class: "track", x1: 10, x2: 290, y1: 28, y2: 28 }),
    svg("line", { class: "value", x1: 10, x2: x(cosine), y1: 28, y2: 28 }),
    threshold !== null && svg("line", { class: "limit", x1: x(threshold), x2: x(threshold), y1: 18, y2: 38 }),
    threshold !== null && svg("text", { x: x(threshold), y: 52, "text-anchor": anchor(x(threshold)) }, `threshold ${fixed(threshold)}`),
    svg("circle", { cx: x(cosine), cy: 28, r: 7 }),
    svg("text", { class: "figure", x: x(cosine), y: 14, "text-anchor": anchor(x(cosine)) }, fixed(cosine, 3)));
}

const anchor = (x) => (x < 40 ? "start" : x > 260 ? "end" : "middle");
