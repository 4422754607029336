// The four things to do, as tabs: one stop for the Tab key, arrows between them; the address says which.

import { h } from "./dom.js";

/** Put tabs and their panels up. `views`: [[name, title, {node, take, shown}]]. Returns {current()}. */
export function tabbed(list, main, views) {
  const tabs = views.map(([name, title]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": name, onclick: () => choose(name) }, title));
  const panels = views.map(([name, , view]) =>
    h("section", { role: "tabpanel", id: name, "aria-labelledby": `tab-${name}`, class: "view" }, view.node));
  let at = 0;

  const choose = (name, focus = false) => {
    at = Math.max(0, views.findIndex(([each]) => each === name));
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === at));
      tab.tabIndex = i === at ? 0 : -1;
      panels[i].hidden = i !== at;
    });
    if (focus) tabs[at].focus();
    history.replaceState(null, "", `#${views[at][0]}`);
    document.title = `${views[at][1]} · vlrface`;
    views[at][2].shown?.();
  };
  list.addEventListener("keydown", (event) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: views.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(views[(to + views.length) % views.length][0], true);
  });
  window.addEventListener("hashchange", () => choose(location.hash.slice(1)));
  list.replaceChildren(...tabs);
  main.replaceChildren(...panels);
  choose(location.hash.slice(1));
  return { current: () => views[at][2] };
}
