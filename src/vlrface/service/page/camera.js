// A still from the camera, in a dialog. The stream ends with it.

import { h, notice } from "./dom.js";
import { opened } from "./dialog.js";

/** Whether a camera may be asked for at all. */
export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Let a picture be taken; a File, or null if none was. */
export async function takePicture() {
  const video = h("video", { playsinline: true, muted: true, autoplay: true, "aria-label": "What the camera sees" });
  const take = h("button", { type: "button", class: "primary", disabled: true }, "Take the picture");
  const turn = h("button", { type: "button", hidden: true }, "Other camera");
  const said = h("div", {});
  const dialog = opened("Camera", h("div", { class: "stage" }, video), said, h("div", { class: "buttons" }, take, turn));
  let stream = null;
  let facing = "user";
  const stop = () => stream?.getTracks().forEach((track) => track.stop());
  const start = async () => {
    stop();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1280 } }, audio: false });
    } catch (error) {
      said.replaceChildren(notice(reason(error)));
      return;
    }
    if (!dialog.node.open) return stop();
    video.srcObject = stream;
    await video.play().catch(() => null);
    take.disabled = false;
    take.focus();
    turn.hidden = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput").length < 2;
  };
  turn.addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    start();
  });
  start();
  return new Promise((resolve) => {
    let taken = null;
    take.addEventListener("click", async () => {
      taken = await still(video);
      dialog.close();
    });
    dialog.closed.then(() => {
      stop();
      resolve(taken);
    });
  });
}

async function still(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.jpg`, { type: "image/jpeg" });
}

function reason(error) {
  if (error.name === "NotAllowedError") return "The browser was not allowed to use the camera. Allow it in the address bar, then try again.";
  if (error.name === "NotFoundError") return "There is no camera.";
  return "The camera cannot be used. Does another program hold it?";
}
