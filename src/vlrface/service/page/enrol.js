// Enrol somebody: a name and pictures in; what was taken, refused, and there already, out.

import { send, withQuery } from "./api.js";
import { announce, h, notice, tick, unique } from "./dom.js";
import { inParts } from "./fitting.js";
import { intake, pathOf } from "./intake.js";
import { count, fixed } from "./words.js";

/** The form. Returns {node, take(files)}. */
export function enrolForm(model, changed) {
  let files = [];
  const name = h("input", { id: unique("name"), autocomplete: "off", spellcheck: "false", required: true, maxlength: 200 });
  const find = model.detector && tick("Find the face in each picture", true);
  const shown = h("ul", { class: "chosen", "aria-label": "Chosen pictures" });
  const result = h("div", { class: "results" });
  const go = h("button", { class: "primary", disabled: true }, "Enrol");

  const draw = () => {
    shown.replaceChildren(...files.map((file) => {
      const url = URL.createObjectURL(file);
      const away = () => {
        files = files.filter((each) => each !== file);
        draw();
      };
      return h("li", {}, h("img", { src: url, alt: pathOf(file), onload: () => URL.revokeObjectURL(url) }),
        h("button", { type: "button", class: "quiet", "aria-label": `Leave out ${pathOf(file)}`, onclick: away }, "×"));
    }));
    go.disabled = !files.length;
    go.textContent = files.length ? `Enrol ${count(files.length, "picture")}` : "Enrol";
  };
  const take = (more) => {
    files = [...files, ...more].slice(0, model.limits.files);
    draw();
    if (!name.value) name.focus();
  };
  const enrol = async () => {
    const person = name.value.trim();
    if (!person) return name.focus();
    go.disabled = true;
    result.replaceChildren(h("p", { class: "busy" }, "Enrolling …"));
    try {
      const path = withQuery(`/v1/people/${encodeURIComponent(person)}/faces`, { detect: Boolean(find && find.box.checked) });
      const ask = (some) => send(path, some.map((file) => ["files", file, pathOf(file)]));
      const reply = joined((await inParts(model, files, ask)).map(([, each]) => each));
      result.replaceChildren(report(reply));
      if (reply.enrolled.length) {
        [files, name.value] = [[], ""];
        await changed();
      }
      announce(summary(reply));
    } catch (error) {
      result.replaceChildren(notice(error.message));
    }
    draw();
  };
  const form = h("form", { class: "enrol", onsubmit: (event) => (event.preventDefault(), enrol()) },
    h("h2", {}, "Enrol somebody"),
    h("div", { class: "field" }, h("label", { for: name.id }, "Name"), name),
    intake(take, { title: "Pictures of this person: drop, paste or choose", small: true, extra: find && find.node }),
    shown, h("div", { class: "buttons" }, go), result);
  return { node: form, take };
}

/** Replies of several requests as one. */
function joined(replies) {
  const all = (name) => replies.flatMap((each) => each[name]);
  return { person: replies[0].person, enrolled: all("enrolled"), refused: all("refused"), duplicates: all("duplicates") };
}

const summary = (reply) => (reply.enrolled.length ? `Enrolled ${count(reply.enrolled.length, "face")} of ${reply.person}.` : `Nothing of ${reply.person} was enrolled.`);

function report(reply) {
  const lines = [
    ...reply.refused.map((each) => h("li", { class: "refused" }, h("b", {}, each.file), ` was not enrolled: ${each.reason}.`)),
    ...reply.duplicates.map((each) => h("li", { class: "duplicate" }, h("b", {}, each.file), duplicateWords(each, reply.person))),
  ];
  return h("section", { class: "report", "aria-label": "What was enrolled" }, h("p", {}, h("strong", {}, summary(reply))), lines.length ? h("ul", {}, lines) : null);
}

function duplicateWords({ person, cosine }, own) {
  const near = ` (cosine ${fixed(cosine)})`;
  if (person === own) return ` is nearly a face of ${person} that is there already${near}.`;
  return ` resembles ${person}, who is enrolled${near}. Is it the same person under two names?`;
}
