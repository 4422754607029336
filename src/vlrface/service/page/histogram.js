// Bars of how many faces have which index, with a mark where one of them, or a threshold, lies.

import { svg } from "./dom.js";

const [WIDTH, BASE] = [300, 58];

/**
 * A histogram.
 *
 * edges: of the bins, ascending. series: [{counts, name}], drawn behind one another. marker: an index, or null.
 * stretched: to any width; the mark then has no head. Returns {node, mark(index)}; `mark` moves the marker and gives every bin below it the class "below".
 */
export function histogram({ edges, series, marker = null, label, stretched = false }) {
  const most = Math.max(1, ...series.flatMap((each) => each.counts));
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const x = (index) => (high > low ? (WIDTH * (index - low)) / (high - low) : WIDTH / 2);
  const bars = series.flatMap((each) =>
    each.counts.map((count, i) => {
      const height = count ? Math.max(1.5, (BASE - 8) * Math.sqrt(count / most)) : 0; // the tails are to be seen
      const width = Math.max(0.5, x(edges[i + 1]) - x(edges[i]) - 1);
      const bar = svg("rect", { class: `bar ${each.name}`, x: x(edges[i]) + 0.5, y: BASE - height, width, height, rx: 1 });
      return { bar, middle: (edges[i] + edges[i + 1]) / 2 };
    }),
  );
  const line = svg("line", { class: "mark", y1: 4, y2: BASE + 4 });
  const head = svg("path", { class: "mark-head" });
  const node = svg("svg", { class: "histogram", viewBox: `0 0 ${WIDTH} ${BASE + 6}`, preserveAspectRatio: stretched && "none", role: "img", "aria-label": label },
    bars.map(({ bar }) => bar), svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: BASE, y2: BASE }), line, !stretched && head);
  const mark = (index) => {
    const at = Math.min(WIDTH - 1.5, Math.max(1.5, x(index)));
    line.setAttribute("x1", at);
    line.setAttribute("x2", at);
    head.setAttribute("d", headAt(at, index < low ? -1 : index > high ? 1 : 0));
    for (const { bar, middle } of bars) bar.classList.toggle("below", middle < index);
  };
  if (marker === null) node.classList.add("unmarked");
  else mark(marker);
  return { node, mark };
}

/** A drop on the line; an arrow outwards where the index lies beyond the bins. */
function headAt(x, beyond) {
  if (beyond) return `M ${x - 5 * beyond} 1 l ${6 * beyond} 4 l ${-6 * beyond} 4 z`;
  return `M ${x - 4} 0 h 8 l -4 6 z`;
}

/** Equal bins over ascending values, more of them for more values: {edges, counts}. */
export function binned(values) {
  const bins = Math.round(Math.min(60, Math.max(10, 3 * Math.sqrt(values.length))));
  const [low, high] = [values[0], values[values.length - 1]];
  const width = high > low ? (high - low) / bins : 1;
  const counts = new Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor((value - low) / width))] += 1;
  return { edges: Array.from({ length: bins + 1 }, (_, i) => low + i * width), counts };
}
