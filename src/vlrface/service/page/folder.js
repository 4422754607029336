// Folder: many pictures, sorted by recognizability, and what a threshold would reject.

import { announce, download, h, notice, tick } from "./dom.js";
import { intake, isPicture } from "./intake.js";
import { csv, sorted } from "./rejection.js";
import { scoreAll } from "./scoring.js";
import { thresholdPanel } from "./threshold.js";
import { tiles } from "./tiles.js";
import { count } from "./words.js";

const MOST_NAMED = 500;

/** The view. Returns {node, take(files)}. */
export function folderView(service) {
  const { model } = service;
  const find = model.detector && tick("Find the faces in whole pictures", false);
  const work = h("div", { class: "work", "aria-live": "off" });
  const results = h("div", { class: "results" });
  let cancel = null;

  const take = async (given) => {
    cancel?.abort();
    const files = given.filter(isPicture);
    if (!files.length) {
      results.replaceChildren(notice("There is no picture among these files."));
      return;
    }
    results.replaceChildren();
    const faces = [];
    const [bar, words] = [h("progress", { max: files.length, value: 0, "aria-label": "Scored pictures" }), h("span", {})];
    cancel = new AbortController();
    const mine = cancel;
    const stop = h("button", { type: "button", onclick: () => mine.abort() }, "Cancel");
    work.replaceChildren(h("div", { class: "progress" }, bar, words, stop));
    const began = performance.now();
    const progress = (done, more) => {
      faces.push(...more);
      bar.value = done;
      words.textContent = `${done.toLocaleString("en")} of ${count(files.length, "picture")}${remaining(began, done, files.length)}`;
    };
    let fault = null;
    try {
      await scoreAll(model, files, { detect: Boolean(find && find.box.checked), signal: mine.signal, progress });
    } catch (error) {
      fault = error;
    }
    if (mine !== cancel) return; // another folder was chosen meanwhile
    work.replaceChildren();
    const end = fault && (fault.name === "AbortError" ? notice(`Cancelled after ${count(faces.length, "face")}.`, "info") : notice(fault.message));
    results.replaceChildren(...[end, faces.length ? board(model, faces) : null].filter(Boolean));
    announce(`${count(faces.length, "face")} scored.`);
  };
  const extra = find ? h("div", { class: "options" }, find.node) : [];
  const zone = intake(take, { title: "Drop a folder or many pictures here", folder: true, camera: false, extra });
  if (!model.has_index) return { node: notice("This model gives no recognizability, so nothing can be sorted by it.", "info"), take: () => null };
  return { node: h("div", {}, zone, work, results), take };
}

function remaining(began, done, all) {
  const seconds = ((performance.now() - began) / 1000 / done) * (all - done);
  if (done === all || seconds < 2) return "";
  return seconds < 90 ? `, about ${Math.ceil(seconds)} s left` : `, about ${Math.ceil(seconds / 60)} min left`;
}

/** Why files were not scored; the saved list has all of them. */
function notScored(failed) {
  const lines = failed.slice(0, MOST_NAMED).map((face) => h("li", {}, h("b", {}, face.file), `: ${face.error || "no index"}`));
  if (failed.length > MOST_NAMED) lines.push(h("li", {}, `and ${count(failed.length - MOST_NAMED, "other")}`));
  return h("details", { class: "failed" }, h("summary", {}, `${count(failed.length, "file")} not scored`), h("ul", {}, lines));
}

/** Slider, figures, tiles. */
function board(model, faces) {
  const { known, failed } = sorted(faces);
  const lost = failed.length ? notScored(failed) : null;
  if (!known.length) return h("div", {}, notice("None of these pictures has a face that could be scored."), lost);
  const wall = tiles(known);
  let rejected = 0;
  const panel = thresholdPanel(model, known, (below) => {
    rejected = below;
    wall.divide(below);
  });
  const save = h("button", { type: "button", onclick: () => download("recognizability.csv", csv(known, failed, rejected), "text/csv") }, "Save the list (CSV)");
  return h("div", { class: "board" }, panel.node, h("div", { class: "buttons" }, save), wall.node, lost);
}
