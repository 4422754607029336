// Elements made by functions: nothing is ever parsed as HTML, so no name or message can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `onclick` and the like are listened to, `class` and attributes are set, null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Custom properties for the style sheet; a style attribute would be against the policy. */
export function vary(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

/** Say something to those who do not see it. */
export function announce(text) {
  const status = document.getElementById("status");
  status.textContent = "";
  setTimeout(() => (status.textContent = text), 50); // the same words twice are said twice
}

/** A message that stays: a refusal, or something to know. */
export function notice(text, kind = "error") {
  return h("p", { class: `notice ${kind}`, role: kind === "error" ? "alert" : null }, text);
}

let counted = 0;

/** An id that nothing else has. */
export function unique(name) {
  counted += 1;
  return `${name}-${counted}`;
}

/** A box to tick, with its words. */
export function tick(words, checked, onchange = null) {
  const box = h("input", { type: "checkbox", checked, onchange });
  return { node: h("label", { class: "tick" }, box, h("span", {}, words)), box };
}

/** A download of a text as a file. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
