// Look: pictures in, a card for each face out.

import { send, withQuery } from "./api.js";
import { boxed } from "./boxes.js";
import { announce, h, notice, tick } from "./dom.js";
import { faceCard, noFaceCard } from "./facecard.js";
import { inParts, scaleOf } from "./fitting.js";
import { intake, pathOf } from "./intake.js";
import { count } from "./words.js";

/** The view. Returns {node, take(files)}. */
export function lookView(service) {
  const { model } = service;
  const find = model.detector && tick("Find the faces in whole pictures", true);
  const search = model.gallery && tick(`Search among ${count(model.gallery.people, "person", "people")}`, true);
  const results = h("div", { class: "results" }, h("p", { class: "hint" }, promise(model)));
  let asking = null;

  const take = async (files) => {
    asking?.abort();
    asking = new AbortController();
    const most = model.limits.files;
    if (files.length > most) {
      results.replaceChildren(notice(`Here at most ${most} pictures are looked at. For more, use the folder view.`));
      return;
    }
    results.replaceChildren(h("p", { class: "busy" }, "Looking …"));
    const mine = asking;
    try {
      const found = await looked(model, files, options(find, search), mine.signal);
      results.replaceChildren(...blocks(model, found, retake));
      announce(summary(found));
    } catch (error) {
      if (error.name === "AbortError") return;
      results.replaceChildren(notice(error.message));
    }
  };
  const retake = (file) => {
    find.box.checked = false;
    take([file]);
  };
  const extra = h("div", { class: "options" }, find && find.node, search && search.node);
  return { node: h("div", {}, intake(take, { extra }), results), take };
}

const options = (find, search) => ({ detect: Boolean(find && find.box.checked), search: Boolean(search && search.box.checked) });

/** What will stand here. */
function promise(model) {
  const place = model.calibration ? "a score, and where it stands among others" : "where it stands among others";
  return `Each face gets ${place}${model.gallery ? "; and who it may be, “unknown”, or “not recognizable”" : ""}.`;
}

/** Ask about files: [{file, faces, answers}], one for each file, in their order. */
async function looked(model, files, { detect, search }, signal) {
  const path = withQuery(search ? "/v1/identify" : "/v1/score", { detect, picture: true, attention: model.has_attention });
  const ask = (some) => send(path, some.map((file) => ["files", file, pathOf(file)]), signal);
  return (await inParts(model, files, ask)).flatMap(([sent, reply]) => {
    const rows = search ? reply.answers.map((answer) => ({ face: answer.face, answer })) : reply.faces.map((face) => ({ face, answer: null }));
    const groups = byFile(rows);
    return sent.map((file, i) => ({ file, rows: groups[i] || [], detect }));
  });
}

/** Faces are numbered from 1 in each file. */
export function byFile(rows) {
  const groups = [];
  for (const row of rows) {
    if ((row.face || row).number === 1) groups.push([]);
    groups[groups.length - 1].push(row);
  }
  return groups;
}

/** Crops beside one another; whole pictures each with its faces; and files without one. */
function blocks(model, found, retake) {
  const whole = found.filter((each) => each.detect && each.rows.some((row) => !row.face.error));
  const others = found.filter((each) => !whole.includes(each));
  const cards = others.flatMap((each) => each.rows.map((row) => cropCard(model, each, row, retake)));
  const crops = cards.length ? [h("section", { class: `cards${cards.length === 1 ? " alone" : ""}` }, cards)] : [];
  return [...whole.map((each) => pictureBlock(model, each)), ...crops];
}

function cropCard(model, { file, detect }, { face, answer }, retake) {
  const again = detect && face.error?.startsWith("no face") ? () => retake(file) : null;
  if (face.error) return noFaceCard(pathOf(file), face, again);
  return faceCard(model, face, { answer, fallback: URL.createObjectURL(file), label: pathOf(file) });
}

function pictureBlock(model, { file, rows }) {
  const faces = rows.map((row) => row.face);
  const url = URL.createObjectURL(file);
  const cards = rows.map(({ face, answer }) => faceCard(model, face, { answer }));
  const picture = boxed(url, faces, (i) => {
    cards[i].focus({ preventScroll: true });
    cards[i].scrollIntoView({ block: "nearest" });
  });
  let [under, focused] = [-1, -1]; // the pointer, and the keyboard
  const show = () => picture.point(under >= 0 ? under : focused);
  cards.forEach((card, i) => {
    card.addEventListener("pointerenter", () => ((under = i), show()));
    card.addEventListener("pointerleave", () => ((under = -1), show()));
    card.addEventListener("focusin", () => ((focused = i), show()));
    card.addEventListener("focusout", () => ((focused = -1), show()));
  });
  const small = scaleOf(file) < 1 ? ", in a picture that was made smaller to fit the service" : "";
  const heading = h("h2", { class: "file" }, pathOf(file), h("span", { class: "hint" }, count(faces.length, "face") + small));
  return h("section", { class: "picture" }, heading, picture.node, h("div", { class: "cards" }, cards));
}

function summary(found) {
  const rows = found.flatMap((each) => each.rows).filter((row) => !row.face.error);
  if (!rows.length) return "No face was found.";
  const kinds = rows.map((row) => (row.answer ? row.answer.kind : row.face.verdict)).filter(Boolean);
  const words = [...new Set(kinds)].map((kind) => `${kinds.filter((each) => each === kind).length} ${kind}`);
  return `${count(rows.length, "face")}: ${words.join(", ")}.`;
}
