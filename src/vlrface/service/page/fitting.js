// What is too much for one request is sent in several, and what is too much for any is made smaller.

import { h } from "./dom.js";
import { named, pathOf } from "./intake.js";

const scales = new WeakMap();

/** By how much a picture was made smaller here; 1 if it was not. */
export const scaleOf = (file) => scales.get(file) || 1;

const wasShrunk = (file) => scales.has(file);

/**
 * Ask about files, in as few requests as the service takes: [[files, answer], ...] in their order.
 *
 * ask: from files to an answer. statuses: of refusals after which halves are tried. failed: the answer for a file that is
 * refused alone; without it, the refusal is thrown. A picture that is too large alone is made smaller once.
 */
export async function inParts(model, files, ask, { statuses = [413], failed = null } = {}) {
  try {
    return [[files, await ask(files)]];
  } catch (error) {
    if (!statuses.includes(error.status)) throw error;
    const again = (some) => inParts(model, some, ask, { statuses, failed });
    if (files.length > 1) {
      const half = files.length >> 1;
      return [...(await again(files.slice(0, half))), ...(await again(files.slice(half)))];
    }
    const fit = error.status === 413 && !wasShrunk(files[0]) ? await shrunk(files[0], model.limits.pixels) : null;
    if (fit) return again([fit]);
    if (!failed) throw error;
    return [[files, failed(files[0], error)]];
  }
}

/** The picture with at most so many pixels, as JPEG; null if the browser cannot read it. */
export async function shrunk(file, pixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const scale = Math.min(1, Math.sqrt((0.98 * pixels) / (bitmap.width * bitmap.height)));
  const canvas = h("canvas", { width: Math.floor(bitmap.width * scale), height: Math.floor(bitmap.height * scale) });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  const fit = named(new File([blob], file.name, { type: "image/jpeg" }), pathOf(file));
  scales.set(fit, scale);
  return fit;
}
