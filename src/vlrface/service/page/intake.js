// Pictures come in: dropped, pasted, chosen, or taken.

import { hasCamera, takePicture } from "./camera.js";
import { h } from "./dom.js";

/**
 * A place for pictures. `take(files)` gets them.
 *
 * options: title, multiple, folder (also offer to choose a folder), camera, small, extra (nodes below the buttons).
 */
export function intake(take, options = {}) {
  const { title = "Drop a picture here, or paste one", multiple = true, folder = false, camera = true, small = false, extra = [] } = options;
  const chosen = (input) => {
    if (input.files.length) take([...input.files]);
    input.value = ""; // the same file may be chosen again
  };
  const files = h("input", { type: "file", accept: "image/*", multiple, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: () => chosen(files) });
  const whole = folder && h("input", { type: "file", webkitdirectory: true, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: () => chosen(whole) });
  const buttons = [h("button", { type: "button", class: folder ? null : "primary", onclick: () => files.click() }, multiple ? "Choose pictures" : "Choose a picture")];
  if (folder) buttons.unshift(h("button", { type: "button", class: "primary", onclick: () => whole.click() }, "Choose a folder"));
  if (camera) {
    const shoot = h("button", { type: "button", disabled: !hasCamera(), title: hasCamera() ? null : "A browser gives the camera to https and localhost only" }, "Use the camera");
    shoot.addEventListener("click", async () => {
      const taken = await takePicture();
      if (taken) take([taken]);
    });
    buttons.push(shoot);
  }
  const zone = h("div", { class: `intake${small ? " small" : ""}` },
    h("p", { class: "call" }, title), h("div", { class: "buttons" }, buttons), files, whole, extra);
  droppable(zone, async (transfer) => {
    const dropped = await filesOf(transfer);
    if (dropped.length) take(multiple ? dropped : dropped.slice(0, 1));
  });
  return zone;
}

function droppable(zone, dropped) {
  let depth = 0;
  const over = (by) => {
    depth = Math.max(0, depth + by);
    zone.classList.toggle("over", depth > 0);
  };
  zone.addEventListener("dragenter", (event) => (event.preventDefault(), over(1)));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("dragleave", () => over(-1));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(0);
    dropped(event.dataTransfer);
  });
}

/** Files of a drop, those of dropped folders too. */
export async function filesOf(transfer) {
  const entries = [...(transfer.items || [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(within))).flat();
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))].map((file) => named(file, entry.fullPath));
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader gives a hundred at a time
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break;
    for (const each of part) found.push(...(await within(each)));
  }
  return found;
}

const paths = new WeakMap();

/** Remember the path of a file. */
export function named(file, path) {
  paths.set(file, path.replace(/^\//, ""));
  return file;
}

/** A file's path within the folder that was chosen, or its name. */
export const pathOf = (file) => paths.get(file) || file.webkitRelativePath || file.name || "pasted.png";

/** Whether a file may be a picture. */
export const isPicture = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp|bmp|tiff?|gif|ppm|pgm)$/i.test(file.name);
