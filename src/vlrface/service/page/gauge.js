// A half circle from "cannot be recognised" to "can".

import { svg } from "./dom.js";
import { fixed, percent, verdictWords } from "./words.js";

const RADIUS = 52;
const [X, Y] = [64, 64];

/** The gauge of a face's score; without one it shows the index alone. */
export function gauge(face, calibration) {
  const known = face.score !== null;
  const [word] = verdictWords(face, calibration);
  const label = known
    ? `Recognizability ${percent(face.score)}: ${word}`
    : `Recognizability index ${fixed(face.recognizability)}, not calibrated`;
  const value = known ? percent(face.score) : fixed(face.recognizability);
  return svg("svg", { class: `gauge is-${face.verdict || "none"}`, viewBox: "0 0 128 78", role: "img", "aria-label": label },
    svg("path", { class: "track", d: arc(0, 1) }),
    known && svg("path", { class: "value", d: arc(0, Math.max(face.score, 0.001)), pathLength: 100 }),
    known && calibration && limits(calibration).map((at) => svg("path", { class: "limit", d: tickAt(at) })),
    svg("text", { class: "figure", x: X, y: Y - 2, "text-anchor": "middle" }, value),
    svg("text", { class: "unit", x: X, y: Y + 11, "text-anchor": "middle" }, known ? "recognizability" : "index"),
  );
}

function limits(calibration) {
  return [calibration.unrecognizable_below, calibration.recognizable_from].filter((at) => at > 0 && at < 1);
}

function point(share, radius) {
  const angle = Math.PI * (1 - share);
  return `${(X + radius * Math.cos(angle)).toFixed(2)} ${(Y - radius * Math.sin(angle)).toFixed(2)}`;
}

function arc(from, to) {
  return `M ${point(from, RADIUS)} A ${RADIUS} ${RADIUS} 0 0 1 ${point(to, RADIUS)}`;
}

function tickAt(share) {
  return `M ${point(share, RADIUS - 7)} L ${point(share, RADIUS + 7)}`;
}
