// The three answers of a search, which must not look alike.

import { pictureUrl } from "./api.js";
import { h, svg, vary } from "./dom.js";
import { fixed } from "./words.js";

const TITLES = { candidates: "May be", unknown: "Unknown", "not recognizable": "Not recognizable" };
const SUBTITLES = {
  unknown: "It was searched, and nobody enrolled is near enough.",
  "not recognizable": "The face itself allows no answer, so it was not searched.",
};

/** What a search says of a face. */
export function answerBlock(answer, threshold) {
  const kind = answer.kind;
  const list = h("ol", { class: "candidates" }, answer.candidates.map((each) => candidate(each, threshold)));
  return h("section", { class: `answer ${kind.replaceAll(" ", "-")}`, "aria-label": `Answer: ${kind}` },
    h("h4", {}, symbol(kind), TITLES[kind]),
    kind === "candidates" ? list : h("p", { class: "says" }, SUBTITLES[kind]),
    h("p", { class: "reason" }, answer.reason));
}

function candidate(found, threshold) {
  const bar = vary(h("span", { class: "likeness", "aria-hidden": "true" }, h("i")), {
    "--value": `${100 * Math.max(0, found.cosine)}%`,
    "--limit": `${100 * Math.max(0, threshold)}%`,
  });
  return h("li", {}, kept(found), h("span", { class: "who" }, h("b", {}, found.person), bar),
    h("span", { class: "cosine", title: "cosine" }, h("span", { class: "unseen" }, "cosine "), fixed(found.cosine)));
}

function kept(found) {
  return keptPicture(found.picture ? found.face_id : null, found.person);
}

/** The kept picture of an enrolled face, which needs the key and so no plain address; else the first letter. */
export function keptPicture(faceId, person) {
  const frame = h("span", { class: "kept", "aria-hidden": "true" }, [...person][0].toUpperCase());
  if (faceId === null) return frame;
  pictureUrl(`/v1/faces/${faceId}/picture`).then(
    (url) => frame.replaceChildren(h("img", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) })),
    () => null, // the letter stays
  );
  return frame;
}

/** A person; an empty ring; a face behind a bar. */
function symbol(kind) {
  const ring = svg("circle", { cx: 12, cy: 12, r: 10, class: "ring" });
  const inner = {
    candidates: [svg("circle", { cx: 12, cy: 9.5, r: 3 }), svg("path", { d: "M5.5 18.5c1.4-3.2 11.600-3.2 13 0" })],
    unknown: [svg("path", { d: "M9 9.5c.3-4 6.300-3.600 6 0-.2 2.200-3 2.300-3 4.800" }), svg("path", { d: "M12 17.600v.1" })],
    "not recognizable": [svg("path", { d: "M5 19 19 5" })],
  };
  return svg("svg", { class: "symbol", viewBox: "0 0 24 24", "aria-hidden": "true" }, ring, inner[kind]);
}
