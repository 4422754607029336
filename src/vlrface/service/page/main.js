// The page: asks the service what it is, and shows what can be done with it.

import { ask, key, Refusal } from "./api.js";
import { compareView } from "./compare.js";
import { keyAsked } from "./dialog.js";
import { h, notice } from "./dom.js";
import { folderView } from "./folder.js";
import { lookView } from "./look.js";
import { peopleView } from "./people.js";
import { tabbed } from "./tabs.js";
import { count, percent } from "./words.js";

const main = document.getElementById("main");

async function start() {
  let model;
  try {
    model = await known();
  } catch (error) {
    const again = h("button", { type: "button", onclick: () => location.reload() }, "Try again");
    main.replaceChildren(notice(error.message), h("div", { class: "buttons" }, again));
    return;
  }
  const service = { model };
  const views = [["look", "Look", lookView(service)], ["compare", "Compare", compareView(service)], ["folder", "Folder", folderView(service)]];
  if (model.gallery) views.push(["people", "People", peopleView(service)]);
  const tabs = tabbed(document.getElementById("tabs"), main, views);
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      tabs.current().take(files);
    }
  });
  document.getElementById("about").replaceChildren(...about(model));
  keyButton(model);
}

/** The model, once the key is good; Refusal where nobody gives one. */
async function known() {
  let words = "This service answers those who have a key.";
  for (;;) {
    try {
      return await ask("/v1/model");
    } catch (error) {
      if (error.status !== 401) throw error;
      if (key.get()) words = "The service does not know this key. Is it whole, and not revoked?";
      key.forget();
    }
    const given = await keyAsked(words);
    if (given === null) throw new Refusal(401, "no_key", "Without a key the service does not answer.");
    if (!/^[\x21-\x7e]+$/.test(given)) words = "This is not a key: keys hold no spaces and no accents.";
    else key.set(given);
  }
}

function keyButton(model) {
  const button = document.getElementById("key");
  button.hidden = !model.keys;
  button.textContent = "Forget the key";
  const forget = () => {
    key.forget();
    location.reload();
  };
  button.addEventListener("click", forget);
  document.addEventListener("key-needed", forget); // it was revoked
}

function about(model) {
  const parts = [`${model.name}, run by ${model.engine || "its engine"}`];
  const on = model.calibration?.data ? `, measured on ${model.calibration.data}` : "";
  if (model.calibration) parts.push(`scores hold for a search among ${count(model.calibration.gallery_size, "face")}${on} (off by ${percent(model.calibration.calibration_error)} on average)`);
  else parts.push("not calibrated: faces have an index and no score");
  const { match, pair } = model.rules;
  if (pair !== null) parts.push(`same person from cosine ${pair.toFixed(2)}`);
  if (match !== null && match !== pair) parts.push(`candidates from cosine ${match.toFixed(2)}`);
  const audit = model.gallery ? " Searches are noted in the audit, without faces." : "";
  const kept = `Pictures go to this service and nowhere else. What is looked at or compared is not kept.${audit}`;
  return [h("p", {}, parts.join(" · ")), h("p", {}, kept)];
}

for (const event of ["dragover", "drop"]) window.addEventListener(event, (each) => each.preventDefault());
start();
