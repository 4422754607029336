// Numbers and verdicts in words.

/** A share as a percentage that never says 0 or 100 of what is not. */
export function percent(share) {
  if (share === null || Number.isNaN(share)) return "–";
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share < 1 && share > 0.995) return "> 99 %";
  return `${Math.round(100 * share)} %`;
}

export const fixed = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
export const day = (iso) => new Date(iso).toLocaleDateString(undefined, { dateStyle: "medium" });

const VERDICTS = {
  recognizable: ["Recognizable", "Clear enough to be recognised."],
  doubtful: ["Doubtful", "It may be too poor: take a match as a hint, not as an answer."],
  unrecognizable: ["Unrecognizable", "Too little of the face is left to tell who it is, whatever a search would say."],
  failed: ["No face", "There is nothing to look at."],
};

/** [word, meaning] of a face's verdict; without calibration there is none. */
export function verdictWords({ verdict, score }, calibration) {
  const [word, meaning] = VERDICTS[verdict] || ["No verdict", "The model is not calibrated: its index has an order and no meaning."];
  if (verdict !== "doubtful" || score < calibration.recognizable_from) return [word, meaning];
  return [word, "The score is good, but faces that nobody can recognise have such an index, too."];
}

/** What a score means, as the calibration says. */
export function scoreMeaning(score, calibration) {
  if (score === null || !calibration) return "";
  const of = calibration.gallery_size.toLocaleString("en");
  return `Searched among ${of} faces, its best match is right with a probability of ${percent(score)}.`;
}

/** The calibrated score of an index. */
export function scoreOf(index, { slope, intercept, mean, scale }) {
  return 1 / (1 + Math.exp(-((slope * (index - mean)) / scale + intercept)));
}

/** The index that has a score; null where every index has the same. */
export function indexOf(score, { slope, intercept, mean, scale }) {
  if (slope === 0 || score <= 0 || score >= 1) return null;
  return mean + (scale * (Math.log(score / (1 - score)) - intercept)) / slope;
}
