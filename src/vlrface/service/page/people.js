// People: who is enrolled, page by page; and one of them with all faces.

import { ask, may, withQuery } from "./api.js";
import { keptPicture } from "./answer.js";
import { confirmed, opened } from "./dialog.js";
import { announce, h, notice } from "./dom.js";
import { enrolForm } from "./enrol.js";
import { count, day, fixed } from "./words.js";

const AT_ONCE = 24;

/** The view. Returns {node, take(files)}. */
export function peopleView(service) {
  const { model } = service;
  const list = h("ul", { class: "people" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const said = h("div", {});
  const total = h("span", { class: "hint" });
  const field = h("input", { type: "search", placeholder: "Search by name", "aria-label": "Search by name", autocomplete: "off", spellcheck: "false" });
  let [after, turn] = ["", 0];

  const load = async (fresh) => {
    const mine = fresh ? (turn += 1) : turn;
    try {
      const reply = await ask(withQuery("/v1/people", { search: field.value.trim(), limit: AT_ONCE, after: fresh ? "" : after }));
      if (mine !== turn) return; // somebody has typed on
      if (fresh) list.replaceChildren();
      list.append(...reply.people.map((person) => personTile(model, person, () => show(person.person))));
      after = reply.next;
      more.hidden = after === null;
      const nobody = !list.children.length && after === null;
      said.replaceChildren(...(nobody ? [h("p", { class: "hint" }, field.value ? "Nobody of this name." : "Nobody is enrolled yet.")] : []));
      if (fresh && field.value) announce(`${list.children.length} found`);
    } catch (error) {
      said.replaceChildren(notice(error.message));
    }
  };
  const refresh = async () => {
    await load(true);
    const state = (await ask("/v1/model")).gallery;
    total.textContent = `${count(state.people, "person", "people")}, ${count(state.faces, "face")}`;
  };
  const show = (name) => personDialog(model, name, refresh).catch((error) => said.replaceChildren(notice(error.message)));
  more.addEventListener("click", () => load(false));
  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => load(true), 200);
  });

  const form = may(model, "enrol") ? enrolForm(model, refresh) : null;
  const kept = model.gallery.keeps_pictures ? "A small picture of each face is kept." : "No pictures are kept, only what the model saw of them.";
  const node = h("div", {},
    form ? form.node : h("p", { class: "notice info" }, "Your key may look at people. To enrol or remove them, ask for another."),
    h("div", { class: "bar" }, h("h2", {}, "Enrolled ", total), field),
    said, list, h("div", { class: "buttons" }, more), h("p", { class: "hint" }, kept));
  return { node, take: (files) => form?.take(files), shown: () => refresh().catch((error) => said.replaceChildren(notice(error.message))) };
}

function personTile(model, person, show) {
  const picture = h("span", {}, keptPicture(null, person.person));
  if (model.gallery.keeps_pictures) {
    ask(`/v1/people/${encodeURIComponent(person.person)}`).then(
      ({ faces }) => picture.replaceChildren(keptPicture(best(faces), person.person)),
      () => null,
    );
  }
  return h("li", {}, h("button", { type: "button", class: "person", onclick: show },
    picture, h("b", {}, person.person), h("span", { class: "hint" }, count(person.faces, "face"))));
}

/** The most recognizable face that has a picture. */
function best(faces) {
  const shown = faces.filter((face) => face.picture);
  shown.sort((a, b) => (b.recognizability ?? -Infinity) - (a.recognizability ?? -Infinity));
  return shown.length ? shown[0].face_id : null;
}

async function personDialog(model, name, changed) {
  const person = await ask(`/v1/people/${encodeURIComponent(name)}`);
  const faces = h("ul", { class: "faces" }, person.faces.map((face) =>
    h("li", {}, keptPicture(face.picture ? face.face_id : null, name),
      h("span", {}, h("b", {}, face.source || "no name"), h("br"), h("span", { class: "hint" }, `${day(face.enrolled)} · index ${fixed(face.recognizability)}`)))));
  const remove = may(model, "admin") && h("button", { type: "button", class: "danger" }, "Remove");
  const said = h("div", {});
  const dialog = opened(name, h("p", { class: "hint" }, `${count(person.faces.length, "face")}, enrolled on ${day(person.enrolled)}`),
    faces, said, remove && h("div", { class: "buttons" }, remove));
  if (!remove) return;
  remove.addEventListener("click", async () => {
    const what = `${count(person.faces.length, "face")} of ${name} will be erased from the gallery's file. This cannot be undone.`;
    if (!(await confirmed(`Remove ${name}?`, what, "Remove for good"))) return remove.focus();
    try {
      const gone = await ask(`/v1/people/${encodeURIComponent(name)}`, { method: "DELETE" });
      dialog.close();
      announce(`${name} is removed with ${count(gone.removed_faces, "face")}.`);
      await changed();
    } catch (error) {
      said.replaceChildren(notice(error.message));
    }
  });
}
