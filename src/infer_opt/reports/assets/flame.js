"use strict";

// Frames lie below whatever called them, as wide as the samples in which they were. Nodes are [name, samples, children].
(() => {
  const tabs = JSON.parse(document.getElementById("stacks").textContent);
  const place = document.getElementById("flame");
  const HEIGHT = 20, NARROWEST = 1, LETTER = 7;
  const made = (name, attributes = {}, ...children) => {
    const found = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    found.append(...children);
    return found;
  };
  const three = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 4 });
  const percent = (share) => `${share < 0.0995 ? (share * 100).toFixed(1) : Math.round(share * 100)} %`;
  const shown = (tab, samples) => {
    if (tab.unit === "s") return `${three(samples / tab.rate)} s`;
    const [unit, scale] = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3], ["B", 1]].find(([, one]) => samples >= one) ?? ["B", 1];
    return `${three(samples / scale)} ${unit}`;
  };
  // One hue for a file, so that a package has the same colour everywhere.
  const hue = (name) => {
    const file = /\(([^():]*)[^()]*\)$/.exec(name)?.[1].split("/")[0] ?? name;
    let found = 0;
    for (const letter of file) found = (found * 31 + letter.charCodeAt(0)) % 360;
    return found;
  };

  // What is shown: a tab, the node zoomed in on (as the path to it), and the words searched for.
  let tab = tabs[0], path = [], words = "", nodes = [];

  const list = made("div", { role: "tablist", "aria-label": "What is shown" });
  const search = made("input", { type: "search", placeholder: "Search functions and files", "aria-label": "Search functions and files" });
  const reset = made("button", { type: "button" }, "Zoom out");
  const about = made("p", { class: "about" });
  const said = made("p", { class: "said", role: "status" });
  const frames = made("div", { class: "frames", role: "tabpanel", "aria-label": "Flame graph: arrow keys move, Enter zooms in, Escape zooms out" });
  place.append(made("div", { class: "bar" }, list, search, reset), about, said, frames);
  place.hidden = false;

  for (const one of tabs) {
    const button = made("button", { type: "button", role: "tab", "aria-selected": "false" }, one.name);
    button.addEventListener("click", () => choose(one));
    list.append(button);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    choose(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]);
    list.children[tabs.indexOf(tab)].focus();
    event.preventDefault();
  });

  function choose(one) {
    tab = one;
    path = [];
    [...list.children].forEach((button, index) => {
      button.setAttribute("aria-selected", String(tabs[index] === tab));
      button.tabIndex = tabs[index] === tab ? 0 : -1;
    });
    draw();
  }

  const root = () => [-1, tab.whole, tab.tree];
  const nameOf = (node) => (node[0] < 0 ? "all" : tab.names[node[0]]);
  const describe = (node) => `${nameOf(node)}: ${shown(tab, node[1])}, ${percent(tab.whole ? node[1] / tab.whole : 0)} of all`;
  const isFound = (node) => node[0] >= 0 && nameOf(node).toLowerCase().includes(words);

  // The frames to draw: those above the zoomed one at full width, and those below it as wide as they are.
  function laid(width) {
    const zoomed = path.length ? path[path.length - 1] : root();
    const found = [...(path.length ? [root(), ...path] : [root()])].map((node, depth, all) => ({ node, depth, x: 0, width, isAbove: depth < all.length - 1 }));
    const last = found[found.length - 1];
    const scale = zoomed[1] ? width / zoomed[1] : 0;
    const below = (parent) => {
      let x = parent.x;
      for (const node of parent.node[2]) {
        const one = { node, depth: parent.depth + 1, x, width: node[1] * scale, parent };
        x += one.width;
        if (one.width < NARROWEST) continue;
        found.push(one);
        below(one);
      }
    };
    found.slice(1).forEach((one, index) => { one.parent = found[index]; });
    below(last);
    return found;
  }

  const focused = () => nodes.find((one) => one.button === document.activeElement)?.node;

  function draw(focus) {
    const width = frames.clientWidth;
    if (!width) return;
    about.textContent = `${tab.name}: ${tab.about}. ${shown(tab, tab.whole)} in all.`;
    reset.disabled = path.length === 0;
    nodes = laid(width);
    frames.replaceChildren(...nodes.map((one, index) => {
      const name = nameOf(one.node);
      const button = made("button", { type: "button", title: describe(one.node), "aria-label": describe(one.node), tabindex: index === 0 ? 0 : -1 });
      button.textContent = one.width > 3 * LETTER ? name : "";
      button.style.cssText = `left:${one.x}px;top:${one.depth * HEIGHT}px;width:${Math.max(1, one.width)}px;--hue:${hue(name)}`;
      if (one.width < 8) button.style.padding = button.style.borderWidth = "0";
      button.classList.toggle("above", Boolean(one.isAbove));
      if (words) button.classList.add(isFound(one.node) ? "found" : "faded");
      one.button = button;
      button.addEventListener("click", () => zoom(one));
      button.addEventListener("focus", () => say(one));
      button.addEventListener("pointerenter", () => say(one));
      button.addEventListener("keydown", (event) => move(event, one));
      return button;
    }));
    frames.style.height = `${(1 + Math.max(...nodes.map((one) => one.depth))) * HEIGHT}px`;
    if (words) count(); else said.textContent = "";
    if (focus) nodes.find((one) => one.node === focus || (one.node[0] < 0 && focus[0] < 0))?.button.focus();
  }

  const say = (one) => { said.textContent = describe(one.node); };

  // A function that calls itself counts once: nothing is counted below a frame that was found.
  function count() {
    const within = (list) => list.reduce((sum, node) => sum + (isFound(node) ? node[1] : within(node[2])), 0);
    const found = within(tab.tree);
    said.textContent = found ? `In ${percent(found / tab.whole)} of all (${shown(tab, found)})` : "No frame has these letters.";
  }

  function zoom(one) {
    path = [];
    for (let each = one; each && each.node[0] >= 0; each = each.parent) path.unshift(each.node);
    draw(one.node);
  }

  function move(event, one) {
    const beside = (step) => {
      const row = nodes.filter((each) => each.depth === one.depth).sort((a, b) => a.x - b.x);
      return row[row.indexOf(one) + step];
    };
    const next = {
      ArrowUp: () => one.parent,
      ArrowDown: () => nodes.find((each) => each.parent === one),
      ArrowLeft: () => beside(-1),
      ArrowRight: () => beside(1),
      Home: () => nodes[0],
    }[event.key];
    if (next) {
      next()?.button.focus();
      event.preventDefault();
    } else if (event.key === "Escape" || event.key === "Backspace") {
      out(one);
      event.preventDefault();
    }
  }

  // One step out, to where the zoomed frame was called from.
  function out(one) {
    path = path.slice(0, -1);
    draw(one ? one.node : root());
  }

  reset.addEventListener("click", () => { path = []; draw(); });
  search.addEventListener("input", () => { words = search.value.trim().toLowerCase(); draw(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== search) {
      search.focus();
      event.preventDefault();
    }
  });
  // Its height changes with what is drawn; only another width needs another drawing.
  let drawn = 0;
  new ResizeObserver(() => {
    if (frames.clientWidth !== drawn) draw(focused());
    drawn = frames.clientWidth;
  }).observe(frames);
  choose(tabs[0]);
})();
