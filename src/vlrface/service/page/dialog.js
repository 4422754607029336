// Dialogs: the browser's own, which keep the focus within and give it back.

import { h, unique } from "./dom.js";

/** Open a dialog. Returns {node, close(result), closed: Promise of the result, or null}. */
export function opened(title, ...children) {
  const id = unique("dialog");
  const node = h("dialog", { "aria-labelledby": id });
  let result = null;
  const close = (value = null) => {
    result = value;
    node.close();
  };
  const away = h("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: () => close() }, "×");
  node.append(h("header", {}, h("h2", { id }, title), away), ...children);
  const closed = new Promise((resolve) =>
    node.addEventListener("close", () => {
      node.remove();
      resolve(result);
    }),
  );
  document.body.append(node);
  node.showModal();
  return { node, close, closed };
}

/** Ask before something that cannot be undone; the safe answer has the focus. */
export async function confirmed(title, text, yes) {
  const no = h("button", { type: "button", autofocus: true }, "Cancel");
  const sure = h("button", { type: "button", class: "danger" }, yes);
  const dialog = opened(title, h("p", {}, text), h("div", { class: "buttons" }, no, sure));
  no.addEventListener("click", () => dialog.close(false));
  sure.addEventListener("click", () => dialog.close(true));
  no.focus();
  return (await dialog.closed) === true;
}

/** Ask for a key; the text, or null. */
export async function keyAsked(words) {
  const field = h("input", { type: "password", id: unique("key"), autocomplete: "off", spellcheck: "false", required: true });
  const form = h("form", { class: "asking" },
    h("p", {}, words),
    h("label", { for: field.id }, "API key"), field,
    h("p", { class: "hint" }, "It is kept until this tab is closed, and sent to this service alone."),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, "Use this key")));
  const dialog = opened("A key, please", form);
  field.focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text) dialog.close(text);
  });
  return dialog.closed;
}
