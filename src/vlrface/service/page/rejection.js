// What a threshold on recognizability keeps, and what is to be expected of it.

/** Faces with an index, hardest first; and those without. */
export function sorted(faces) {
  const known = faces.filter((face) => face.recognizability !== null);
  known.sort((a, b) => a.recognizability - b.recognizability || a.file.localeCompare(b.file));
  return { known, failed: faces.filter((face) => face.recognizability === null) };
}

/** How many of the sorted faces lie below the threshold: those are rejected. */
export function rejectedBelow(known, threshold) {
  let [low, high] = [0, known.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (known[middle].recognizability < threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Mean of 1 - score over the kept: the share of searches whose best match is wrong; null where it is not known. */
export function expectedError(kept) {
  if (!kept.length || kept.some((face) => face.score === null)) return null;
  return kept.reduce((sum, face) => sum + 1 - face.score, 0) / kept.length;
}

const COLUMNS = ["file", "face", "decision", "recognizability", "score", "verdict", "shorter_side_px", "left", "top", "width", "height", "error"];

/** A table of all faces, hardest first, with what the threshold decides. */
export function csv(known, failed, rejected) {
  const row = (face, decision) => [
    safe(face.file), face.number, decision, face.recognizability, face.score, face.verdict, face.shorter_side_px,
    ...(face.box || [null, null, null, null]), face.error,
  ];
  const rows = [...known.map((face, i) => row(face, i < rejected ? "rejected" : "kept")), ...failed.map((face) => row(face, "failed"))];
  return [COLUMNS, ...rows].map((cells) => cells.map(quoted).join(",")).join("\r\n") + "\r\n";
}

/** A path that no spreadsheet takes for a formula, and that still names the file. */
const safe = (path) => (/^[=+\-@\t\r]/.test(path) ? `./${path}` : path);

function quoted(cell) {
  const text = cell === null || cell === undefined ? "" : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
