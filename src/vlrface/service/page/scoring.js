// Many files to scores: in batches that the service takes, one after another, until done or cancelled.

import { send, withQuery } from "./api.js";
import { byFile } from "./look.js";
import { pathOf } from "./intake.js";

const FILES = 16; // a batch is answered quickly, so that progress is seen
const TRIES = 6;

/**
 * Score files. `progress(done, faces)` is told after each batch, with the faces of it.
 *
 * A face is the service's, with `source`: the file it is of, and its name as it is here (a form changes some characters). A file that cannot be looked at is a face with `error`.
 */
export async function scoreAll(model, files, { detect, signal, progress }) {
  let done = 0;
  for (const batch of batches(model, files)) {
    const faces = await scored(batch, detect, signal);
    done += batch.length;
    progress(done, faces);
  }
}

function* batches({ limits }, files) {
  const most = Math.min(FILES, limits.files);
  let [batch, bytes] = [[], 0];
  for (const file of files) {
    const cost = file.size + 1000; // its part of the form
    if (batch.length && (batch.length >= most || bytes + cost > 0.9 * limits.body_bytes)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(file);
    bytes += cost;
  }
  if (batch.length) yield batch;
}

/** Faces of a batch. One that is too much, or holds nothing readable, is halved until it is known which file it is. */
async function scored(batch, detect, signal) {
  try {
    const path = withQuery("/v1/score", { detect, picture: detect });
    const { faces } = await patient(() => send(path, batch.map((file) => ["files", file, pathOf(file)]), signal), signal);
    return byFile(faces).flatMap((group, i) => group.map((face) => ({ ...face, file: pathOf(batch[i]), source: batch[i] })));
  } catch (error) {
    if (![413, 415, 422].includes(error.status)) throw error;
    if (batch.length === 1) return [failed(batch[0], error.message)];
    const half = batch.length >> 1;
    return [...(await scored(batch.slice(0, half), detect, signal)), ...(await scored(batch.slice(half), detect, signal))];
  }
}

function failed(file, error) {
  return { file: pathOf(file), source: file, number: 1, box: null, recognizability: null, score: null, verdict: "failed", shorter_side_px: 0, picture: null, error };
}

/** Try again where the service asks to come later. */
async function patient(action, signal) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await action();
    } catch (error) {
      if (![429, 503].includes(error.status) || left <= 1) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(1, error.retryAfter)));
      signal.throwIfAborted();
    }
  }
}
