// One face: how it looks, how recognizable it is, where it stands among others, and who it may be.

import { answerBlock } from "./answer.js";
import { crop } from "./crop.js";
import { h, unique } from "./dom.js";
import { gauge } from "./gauge.js";
import { histogram } from "./histogram.js";
import { count, fixed, scoreMeaning, verdictWords } from "./words.js";

/** The card of a face. `answer` is of a search, or null; `fallback` a picture to show where none came back. */
export function faceCard(model, face, { answer = null, fallback = null, label = `Face ${face.number}` } = {}) {
  const title = unique("face");
  const { node, toggle } = crop(face, fallback);
  const [word, meaning] = verdictWords(face, model.calibration);
  return h("article", { class: "card face", "aria-labelledby": title, tabindex: -1 },
    h("header", {}, h("h3", { id: title }, label), h("span", { class: `verdict is-${face.verdict || "none"}` }, word)),
    h("div", { class: "looks" },
      h("div", {}, node, h("div", { class: "under" }, h("span", { class: "hint" }, `${face.shorter_side_px} px`), toggle)),
      h("div", { class: "measure" }, face.recognizability === null ? noIndex() : gauge(face, model.calibration))),
    h("p", { class: "meaning" }, h("strong", {}, meaning), " ", scoreMeaning(face.score, model.calibration)),
    place(model, face),
    answer && answerBlock(answer, model.rules.match));
}

function noIndex() {
  return h("p", { class: "hint" }, "This model gives no recognizability.");
}

/** Where the face stands among the reference faces. */
function place(model, face) {
  if (!model.reference || face.recognizability === null) return null;
  const { edges, recognizable, unrecognizable } = model.reference;
  const lost = unrecognizable.some((n) => n > 0);
  const faces = count(recognizable.reduce((sum, n) => sum + n, 0), "reference face");
  const words = placeWords(face.place, faces);
  const series = [{ counts: recognizable, name: "good" }];
  if (lost) series.unshift({ counts: unrecognizable, name: "lost" });
  const { node } = histogram({ edges, series, marker: face.recognizability, label: words });
  return h("figure", { class: "place" }, node,
    h("figcaption", {}, h("span", {}, words), h("span", { class: "hint", title: "raw index" }, `index ${fixed(face.recognizability)}`)),
    lost && h("p", { class: "legend" }, h("i", { class: "good" }), "people", h("i", { class: "lost" }), "nobody can recognise"));
}

function placeWords(share, faces) {
  if (share === null) return "";
  if (share === 0 || share === 1) return `${share ? "Above" : "Below"} all ${faces}`;
  return `Above ${Math.floor(100 * share)} % of ${faces}`;
}

/** A file that shows no face. */
export function noFaceCard(name, face, again) {
  return h("article", { class: "card none", tabindex: -1 },
    h("header", {}, h("h3", {}, "No face"), h("span", { class: "verdict is-failed" }, "Nothing looked at")),
    h("p", {}, h("b", {}, name), `: ${face.error}.`),
    again && h("button", { type: "button", onclick: again }, "Take the whole picture as one face"));
}
