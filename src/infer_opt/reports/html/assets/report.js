"use strict";

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (name, attributes = {}, ...children) => {
    const found = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
    found.append(...children);
    return found;
  };

  // Charts, drawn again where their width changes.
  function draw(figure) {
    const place = figure.querySelector(".plot");
    const found = data.figures[figure.id];
    const width = Math.floor(place.clientWidth);
    if (!width) return;
    const chosen = Number(figure.querySelector(".choice input:checked")?.value ?? 0);
    const svg = charts[figure.dataset.kind](found.data, width, chosen);
    place.replaceChildren();
    if (svg === null) return;
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${found.title}. ${found.summary}`);
    place.append(svg);
    place.dataset.width = width;
  }

  function choices(figure) {
    const groups = data.figures[figure.id].data.groups;
    if (!groups || groups.length < 2) return;
    const labels = groups.map((group, place) => {
      const input = made("input", { type: "radio", name: `${figure.id}-group`, value: place });
      input.checked = place === 0;
      input.addEventListener("change", () => draw(figure));
      return made("label", {}, input, group.name);
    });
    figure.querySelector(".plot").before(made("fieldset", { class: "choice" }, made("legend", {}, "Group"), ...labels));
  }

  const watcher = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (Math.abs(target.clientWidth - Number(target.dataset.width ?? 0)) > 4) draw(target.closest("figure"));
    }
  });
  for (const figure of all("figure[data-kind]")) {
    choices(figure);
    draw(figure);
    watcher.observe(figure.querySelector(".plot"));
  }

  // Tables: sorted by any column, with what is not known last; filtered by words.
  const number = (text) => {
    const found = text.replaceAll(",", "").match(/^-?\d+(\.\d+)?(e-?\d+)?/i);
    return found === null ? NaN : Number(found[0]);
  };
  function valueOf(cell, numeric) {
    const text = cell.dataset.order ?? cell.textContent.trim();
    return numeric ? number(text) : text.toLowerCase();
  }
  function compare(one, other, numeric) {
    if (!numeric) return one.localeCompare(other, undefined, { numeric: true });
    if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other) || 0;
    return one - other;
  }
  function sort(table, heading, place) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    const numeric = heading.classList.contains("number");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[place], numeric), row]);
    const unknown = ([value]) => numeric && Number.isNaN(value);
    const known = rows.filter((row) => !unknown(row)).sort(([a], [b]) => (down ? -1 : 1) * compare(a, b, numeric));
    for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...[...known, ...rows.filter(unknown)].map(([, row]) => row));
  }
  function filter(table) {
    const rows = [...table.tBodies[0].rows];
    const words = made("input", { type: "search" });
    const output = made("output", { "aria-live": "polite" });
    const failed = rows.some((row) => row.classList.contains("failed")) ? made("input", { type: "checkbox" }) : null;
    const apply = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = wanted.every((word) => text.includes(word)) && (!failed?.checked || row.classList.contains("failed"));
        row.hidden = !fits;
        shown += fits;
      }
      output.textContent = `${shown} of ${rows.length} rows`;
    };
    words.addEventListener("input", apply);
    failed?.addEventListener("change", apply);
    const parts = [made("label", {}, "Filter by words ", words)];
    if (failed !== null) parts.push(made("label", {}, failed, "failures alone"));
    table.closest(".scroll").before(made("div", { class: "filter" }, ...parts, output));
    apply();
  }
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((heading, place) => {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading, place));
    });
    if (table.hasAttribute("data-filtered")) filter(table);
  }

  // The theme: the system's until the switch is used; remembered where the browser lets a file remember.
  const root = document.documentElement;
  const remembered = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("infer-opt-theme");
      localStorage.setItem("infer-opt-theme", value);
    } catch {
      // Then it holds for this visit alone.
    }
    return null;
  };
  const systems = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systems.matches);
  const button = document.getElementById("theme");
  const label = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  const before = remembered();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    label();
  });
  systems.addEventListener("change", label);
  label();
  button.hidden = false;

  // Files from the data of this page.
  const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  function runs({ headings, series }) {
    const lines = [headings.join(",")];
    for (const { name, every, blocks } of series) {
      blocks.forEach((block, place) => block.forEach((run, turn) => lines.push(`${cell(name)},${place},${turn * every},${run}`)));
    }
    return `${lines.join("\n")}\n`;
  }
  const texts = { json: (content) => `${JSON.stringify(content, null, 2)}\n`, text: (content) => `${content}\n`, runs };
  for (const one of all("button[data-download]")) {
    one.addEventListener("click", () => {
      const { file, kind, content } = data.downloads[Number(one.dataset.download)];
      const type = kind === "json" ? "application/json" : "text/csv";
      const link = made("a", { href: URL.createObjectURL(new Blob([texts[kind](content)], { type })), download: file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  // Which section is being read, in the list of them.
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const reading = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const one of all("main > section")) reading.observe(one);
})();
