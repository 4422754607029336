// The slider over the histogram of a folder, and what it says.

import { h, unique } from "./dom.js";
import { binned, histogram } from "./histogram.js";
import { expectedError, rejectedBelow } from "./rejection.js";
import { count, fixed, indexOf, percent, scoreOf } from "./words.js";

const STEPS = 1000;

/** The panel of sorted faces; `moved(rejected)` is told how many are rejected, at once and after each move. */
export function thresholdPanel(model, known, moved) {
  const values = known.map((face) => face.recognizability);
  const [low, high] = [values[0], values[values.length - 1]];
  const { edges, counts } = binned(values);
  const chart = histogram({ edges, series: [{ counts, name: "own" }], marker: low, label: "How many faces have which index", stretched: true });
  const slider = h("input", { type: "range", min: 0, max: STEPS, step: 1, id: unique("threshold") });
  const figures = Object.fromEntries(["kept", "rejected", "error"].map((name) => [name, h("dd", { class: `is-${name}` })]));
  const least = h("output", { for: slider.id });
  const say = () => {
    const share = Number(slider.value) / STEPS;
    const at = share === 0 ? low : low + share * (high - low || 1) + (share === 1 ? 1e-9 : 0);
    const below = rejectedBelow(known, at);
    const kept = known.slice(below);
    chart.mark(at);
    figures.kept.textContent = count(kept.length, "face");
    figures.rejected.replaceChildren(count(below, "face"), h("span", { class: "hint" }, ` ${percent(below / known.length)}`));
    figures.error.textContent = errorWords(kept);
    least.textContent = leastWords(model, at);
    slider.setAttribute("aria-valuetext", `${least.textContent}: ${kept.length} kept, ${below} rejected, expected error ${figures.error.textContent}`);
    moved(below);
  };
  const go = (score) => {
    slider.value = Math.round(STEPS * shareOf(score, model, low, high));
    say();
  };
  slider.addEventListener("input", say);
  const node = h("section", { class: "card threshold", "aria-label": "Threshold" },
    h("label", { for: slider.id }, "Keep faces from ", least), chart.node, slider,
    h("dl", {}, h("div", {}, h("dt", {}, "Kept"), figures.kept), h("div", {}, h("dt", {}, "Rejected"), figures.rejected),
      h("div", {}, h("dt", {}, "Expected error among the kept"), figures.error)),
    measured(model, go),
    h("p", { class: "hint" }, meaning(model)));
  go(model.calibration?.recognizable_from); // where the best match is more likely right than wrong
  return { node };
}

/** Where on the slider a score lies, as a share of its way. */
function shareOf(score, { calibration }, low, high) {
  const index = calibration ? indexOf(score, calibration) : null;
  if (index === null || high === low) return 0;
  return Math.min(1, Math.max(0, (index - low) / (high - low)));
}

const WISHES = {
  accept: ({ wished }) => `accept ${percent(wished)}`,
  fnmr: ({ wished, at_fmr: rate }) => `miss ${percent(wished)} of the kept (FMR ${percent(rate)})`,
};

/** Thresholds that `vlrface calibrate` chose on held-out people. */
function measured({ calibration }, go) {
  const points = (calibration?.points || []).filter((point) => point.wish in WISHES);
  if (!points.length) return null;
  const buttons = points.map((point) =>
    h("button", { type: "button", class: "quiet small", onclick: () => go(point.threshold) }, WISHES[point.wish](point)));
  return h("div", { class: "buttons wishes" }, h("span", { class: "hint" }, "As measured on held-out people:"), buttons);
}

function leastWords({ calibration }, index) {
  const raw = `index ${fixed(index)}`;
  return calibration ? `score ${percent(scoreOf(index, calibration))} (${raw})` : raw;
}

function errorWords(kept) {
  if (!kept.length) return "nothing kept";
  const error = expectedError(kept);
  return error === null ? "unknown" : percent(error);
}

function meaning({ calibration }) {
  if (!calibration) return "The model is not calibrated, so nobody knows what error is to be expected. Calibrate it with vlrface calibrate.";
  const of = calibration.gallery_size.toLocaleString("en");
  return `Expected error: the share of kept faces whose best match would be wrong, each searched among ${of} faces that include its person. It is the mean of 1 − score. ` +
    `In a larger gallery it is higher; of people who are not in the gallery it says nothing. On people that the calibration had not seen, the scores were off by ${percent(calibration.calibration_error)} on average.`;
}
