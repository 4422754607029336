// Many files to scores: in batches that the service takes, one after another, until done or cancelled.

import { send, withQuery } from "./api.js";
import { inParts, scaleOf } from "./fitting.js";
import { pathOf } from "./intake.js";
import { byFile } from "./look.js";

const FILES = 16; // a batch is answered quickly, so that progress is seen
const TRIES = 6;

/**
 * Score files. `progress(done, faces)` is told after each batch, with the faces of it.
 *
 * A face is the service's, with `source`: the file it is of; its name is the one here, for a form changes some characters.
 * A file that cannot be looked at is a face with `error`.
 */
export async function scoreAll(model, files, { detect, signal, progress }) {
  let done = 0;
  for (const batch of batches(model, files)) {
    const faces = await scored(model, batch, detect, signal);
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

/** Faces of a batch; it is halved until it is known which file cannot be read. */
async function scored(model, batch, detect, signal) {
  const path = withQuery("/v1/score", { detect, picture: detect });
  const ask = async (files) => {
    const { faces } = await patient(() => send(path, files.map((file) => ["files", file, pathOf(file)]), signal), signal);
    return byFile(faces).flatMap((group, i) => group.map((face) => here(face, files[i])));
  };
  const parts = await inParts(model, batch, ask, { statuses: [413, 415, 422], failed: (file, error) => [failed(file, error.message)] });
  return parts.flatMap(([, faces]) => faces);
}

/** A face with its file's name as it is here, and its box as in the picture that was given. */
function here(face, file) {
  const box = face.box && face.box.map((value) => value / scaleOf(file));
  return { ...face, file: pathOf(file), source: file, box };
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
