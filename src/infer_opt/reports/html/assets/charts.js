"use strict";

// Each kind of chart is a function of its data and a width in pixels that gives an SVG. Colours are CSS variables, so
// that a change of the theme needs no drawing. d3 and Plot stand before this script.
const charts = (() => {
  const INK = "var(--ink)", FAINT = "var(--faint)", RULE = "var(--rule)", ACCENT = "var(--accent)";
  const SOFT = "var(--accent-soft)", ZONE = "var(--zone)", BAD = "var(--bad)", PAPER = "var(--paper)";
  const NARROW = 560, LETTER = 6.6;

  const shortened = (text, room) => (text.length <= room ? text : `${text.slice(0, Math.max(1, room - 1)).trimEnd()}…`);
  const plain = (value) => d3.format(Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? ",.3~r" : ".3~s")(value);
  const times = (value) => `${d3.format(".3~r")(value)}x`;
  const plot = (width, options) =>
    Plot.plot({ width, marginTop: 24, marginRight: 18, marginBottom: 44, style: { background: "none" }, ...options });
  const tip = (rows, channels) =>
    Plot.tip(rows, Plot.pointer({ fill: PAPER, stroke: RULE, textPadding: 10, lineHeight: 1.4, lineWidth: 30, pathFilter: null, ...channels }));
  const spread = (values, share) => {
    const [low, high] = d3.extent(values);
    const room = (high - low || Math.abs(high) || 1) * share;
    return [low - room, high + room];
  };
  const spreadLog = (values, factor) => {
    const [low, high] = d3.extent(values);
    return [low / factor, high * factor];
  };

  // Ticks of a logarithmic axis: round numbers where it is short, 1, 2 and 5 where it is longer, then powers of ten.
  function ticksOf([low, high], most) {
    if (high / low < 5) return d3.ticks(low, high, most);
    const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
    const inside = (values) => values.filter((value) => value >= low && value <= high);
    const full = inside(powers.flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)));
    if (full.length <= most) return full;
    const tens = inside(powers.map((power) => 10 ** power));
    return tens.filter((_, place) => place % Math.ceil(tens.length / most) === 0);
  }
  // Such an axis with its grid. Plot drops labels of logarithmic ticks as it sees fit, so it is given each of them.
  function logarithmic(side, domain, { label, text, most, axis = {} }) {
    const ticks = ticksOf(domain, most);
    const [grid, drawn] = side === "x" ? [Plot.gridX, Plot.axisX] : [Plot.gridY, Plot.axisY];
    return {
      scale: { type: "log", domain, axis: null },
      marks: [grid(ticks), drawn(ticks, { label, text, tickFormat: null, ...axis })],
    };
  }
  const small = (value) => (value >= 1e-3 || value === 0 ? d3.format("~g")(value) : d3.format(".1~e")(value));
  const most = (width) => (width < NARROW ? 4 : 8);

  function distribution(data, width) {
    const inside = (value) => value >= data.low && value <= data.high;
    const flat = data.series.flatMap((one) => one.points.map(([x, y]) => ({ x, y, name: one.name })));
    const style = { subject: { stroke: ACCENT, strokeWidth: 2.5 }, reference: { stroke: INK, strokeWidth: 2, strokeDasharray: "6 4" } };
    const marks = data.series.flatMap((one) => {
      const colour = style[one.mark].stroke;
      const seen = one.quantiles.filter((q) => inside(q.value));
      const banded = seen.filter((q) => q.low !== null && q.high !== null);
      return [
        Plot.line(one.points, { x: (d) => d[0], y: (d) => d[1], curve: "step-after", clip: true, ...style[one.mark] }),
        Plot.ruleY(banded, { x1: (d) => Math.max(data.low, d.low), x2: (d) => Math.min(data.high, d.high), y: "share", stroke: colour, strokeWidth: 6, strokeOpacity: 0.4 }),
        Plot.dot(seen, { x: "value", y: "share", r: 3.5, fill: colour, stroke: PAPER }),
        Plot.text(seen.filter((q) => q.name !== "p95"), { x: "value", y: "share", text: "name", dx: 9, dy: 12, textAnchor: "start", fill: colour, stroke: PAPER, strokeWidth: 4 }),
      ];
    });
    const domain = [data.low, data.high];
    const label = `latency of a call, ${data.unit} →`;
    const long = data.logarithmic ? logarithmic("x", domain, { label, text: plain, most: most(width) }) : { scale: { domain, label, ticks: most(width), grid: true }, marks: [] };
    return plot(width, {
      height: width < NARROW ? 300 : 360,
      marginLeft: 48,
      x: long.scale,
      y: { domain: [0, 1], percent: false, label: "↑ share of calls that take no longer", tickFormat: "~%", ticks: [0, 0.25, 0.5, 0.75, 0.9, 1], grid: true },
      marks: [
        ...long.marks,
        ...marks,
        tip(flat.filter((d) => inside(d.x)), { x: "x", y: "y", title: (d) => `${d.name}\n${d3.format(".1%")(d.y)} of calls take at most ${plain(d.x)} ${data.unit}` }),
      ],
    });
  }

  function epochs(data, width) {
    const last = d3.max(data.rows, (d) => d.epoch) ?? 1;
    const [name] = data.names;
    const known = [data.speedup.low, data.speedup.high, data.remeasure.low, data.remeasure.high].filter((v) => v !== null);
    const domain = spread([...data.rows.map((d) => d.value), ...known, 1 - data.margin, 1 + data.margin], 0.04);
    const label = (d) => d.name;
    const ends = data.speedup.low === null || data.speedup.high === null ? [] : [{ name, ...data.speedup }];
    const again = data.remeasure.low === null || data.remeasure.high === null ? [] : [data.remeasure.low, data.remeasure.high].map((value) => ({ name, value }));
    return plot(width, {
      height: 90 + 2 * Math.max(70, last * 13),
      marginLeft: 46,
      marginTop: 30,
      x: { domain, label: `${data.axis} →`, grid: true, tickFormat: (v) => times(v), ticks: most(width) },
      y: { domain: [last + 0.7, 0.3], label: "epoch", ticks: d3.range(1, last + 1), tickFormat: "d", labelAnchor: "top" },
      fy: { domain: data.names, label: null, axis: null, padding: 0.16 },
      marks: [
        Plot.rectX(data.names.map((one) => ({ name: one })), { fy: label, x1: 1 / (1 + data.margin), x2: 1 + data.margin, fill: ZONE }),
        Plot.ruleX(data.names.map((one) => ({ name: one })), { fy: label, x: 1, stroke: FAINT }),
        Plot.rectX(ends, { fy: label, x1: "low", x2: "high", fill: ACCENT, fillOpacity: 0.22 }),
        Plot.ruleX(ends, { fy: label, x: "value", stroke: ACCENT, strokeWidth: 2 }),
        Plot.ruleX(again, { fy: label, x: "value", stroke: ACCENT, strokeDasharray: "2 3" }),
        Plot.dot(data.rows, { fy: label, x: "value", y: "epoch", r: 4.5, fill: (d) => (d.mark === "subject" ? ACCENT : PAPER), stroke: (d) => (d.mark === "subject" ? PAPER : FAINT), strokeWidth: 1.5 }),
        Plot.text(data.names, { fy: (d) => d, text: (d) => d, frameAnchor: "top-left", dx: 4, dy: -13, textAnchor: "start", fill: INK, fontWeight: 600 }),
        tip(data.rows, { fy: label, x: "value", y: "epoch", title: (d) => `${d.name}, epoch ${d.epoch}\n${d3.format(".4f")(d.value)}x` }),
      ],
    });
  }

  // Points of four kinds, told apart by form as well as by colour.
  const kinds = {
    other: { symbol: "circle", r: 3.5, fill: "none", stroke: FAINT, strokeOpacity: 0.75 },
    front: { symbol: "circle", r: 5, fill: ACCENT, fillOpacity: 0.65, stroke: ACCENT },
    stock: { symbol: "square", r: 6, fill: INK, stroke: PAPER },
    winner: { symbol: "star", r: 9, fill: ACCENT, stroke: PAPER },
  };

  function landscape(data, width) {
    const named = data.points.filter((d) => d.mark === "stock" || d.mark === "winner");
    const ys = data.points.map((d) => d.y);
    const label = `↑ ${data.y_axis}`;
    const loss = (v) => (v <= data.least ? `≤ ${small(v)}` : small(v));
    const up = data.logarithmic ? logarithmic("y", spreadLog(ys, 2.5), { label, text: loss, most: 6 }) : { scale: { domain: spread(ys, 0.1), label, grid: true }, marks: [] };
    return plot(width, {
      height: width < NARROW ? 320 : 400,
      marginLeft: 56,
      x: { domain: spread(data.points.map((d) => d.x), 0.06), label: `${data.x_axis} →`, grid: true, ticks: most(width) },
      y: up.scale,
      marks: [
        ...up.marks,
        ...Object.entries(kinds).map(([mark, style]) => Plot.dot(data.points.filter((d) => d.mark === mark), { x: "x", y: "y", ...style })),
        Plot.text(named, { x: "x", y: "y", text: "mark", dy: -16, fill: INK, fontWeight: 600, stroke: PAPER, strokeWidth: 4 }),
        tip(data.points, { x: "x", y: "y", title: (d) => `${d.name}\n${d.detail}` }),
      ],
    });
  }

  // Rows with a name each: beside the marks where there is room, above them on a narrow screen.
  function rows(width, names, options, marks, note = () => "") {
    const narrow = width < NARROW;
    const room = narrow ? 0 : Math.min(0.42 * width, 16 + LETTER * d3.max(names, (name) => name.length));
    const letters = Math.floor((narrow ? width : room - 14) / LETTER);
    const step = narrow ? 42 : 24;
    return plot(width, {
      height: 76 + names.length * step,
      marginLeft: narrow ? 8 : room,
      marginRight: 54,
      y: { domain: names, axis: null, padding: narrow ? 0.55 : 0.3 },
      ...options,
      marks: [
        ...marks(narrow ? 8 : 0),
        Plot.text(names, narrow
          ? { y: (d) => d, text: (d) => shortened(d, letters), frameAnchor: "left", textAnchor: "start", dy: -11, fill: INK }
          : { y: (d) => d, text: (d) => shortened(d, letters), frameAnchor: "left", textAnchor: "end", dx: -10, fill: INK }),
        Plot.text(names, { y: (d) => d, text: note, frameAnchor: "right", textAnchor: "start", dx: 8, dy: narrow ? 8 : 0, fill: FAINT }),
      ],
    });
  }

  function effects(data, width) {
    if (!data.rows.length) return null;
    const count = new Map(data.rows.map((d) => [d.name, d.trials]));
    const clear = (d) => d.low > 1 || d.high < 1;
    const ends = data.rows.flatMap((d) => [d.low, d.high, d.value]);
    const domain = spreadLog([...ends.map((v) => Math.max(0.25, Math.min(8, v))), 1], 1.05);
    const held = (v) => Math.max(domain[0], Math.min(domain[1], v));
    const long = logarithmic("x", domain, { label: `${data.axis} →`, text: times, most: most(width) });
    return rows(width, data.rows.map((d) => d.name), { x: long.scale }, (dy) => [
      ...long.marks,
      Plot.ruleX([1], { stroke: FAINT }),
      Plot.ruleY(data.rows, { y: "name", x1: (d) => held(d.low), x2: (d) => held(d.high), stroke: (d) => (clear(d) ? ACCENT : FAINT), strokeWidth: 4, strokeOpacity: 0.5, dy }),
      Plot.dot(data.rows, { y: "name", x: (d) => held(d.value), r: 5, fill: (d) => (clear(d) ? ACCENT : PAPER), stroke: (d) => (clear(d) ? PAPER : FAINT), strokeWidth: 1.5, dy }),
      tip(data.rows, { y: "name", x: (d) => held(d.value), title: (d) => `${d.name}\n${times(d.value)}  [${times(d.low)} to ${times(d.high)}] over ${d.trials} trials` }),
    ], (name) => `n=${count.get(name)}`);
  }

  function bars(data, width, chosen = 0) {
    const found = data.groups[chosen].rows.map((d) => ({ ...d, time: d.time_ns / data.scale, floor: d.floor_ns === null ? null : d.floor_ns / data.scale }));
    const share = new Map(found.map((d) => [d.name, d.share < 0.005 ? "< 1%" : d3.format(".0%")(d.share)]));
    return rows(width, found.map((d) => d.name), {
      x: { domain: [0, d3.max(found, (d) => Math.max(d.time, d.floor ?? 0)) || 1], label: `${data.axis} →`, grid: true, ticks: most(width) },
    }, (dy) => [
      Plot.barX(found, { y: "name", x: "time", fill: ACCENT, fillOpacity: 0.85, rx: 2, dy: dy / 2 }),
      Plot.tickX(found.filter((d) => d.floor !== null), { y: "name", x: "floor", stroke: INK, strokeWidth: 2, dy: dy / 2 }),
      tip(found, { y: "name", x: "time", title: (d) => `${d.name}\n${plain(d.time)} (${d3.format(".1%")(d.share)}), ${d.nodes} node${d.nodes === 1 ? "" : "s"}${d.floor === null ? "" : `\nfloor ${plain(d.floor)}`}` }),
    ], (name) => share.get(name));
  }

  function load(data, width) {
    const style = { subject: { stroke: ACCENT, strokeWidth: 2.5 }, reference: { stroke: INK, strokeWidth: 2, strokeDasharray: "6 4" }, other: { stroke: FAINT, strokeWidth: 1.2, strokeOpacity: 0.8 } };
    const flat = data.series.flatMap((one) => one.points.map((d) => ({ ...d, name: one.name, mark: one.mark })));
    const colour = (d) => style[d.mark].stroke;
    const long = logarithmic("x", spreadLog(flat.map((d) => d.x), 1.15), { label: `${data.x_axis} →`, text: plain, most: most(width) });
    return plot(width, {
      height: width < NARROW ? 320 : 400,
      marginLeft: 56,
      x: long.scale,
      y: { domain: [0, d3.max(flat, (d) => d.y) * 1.08], label: `↑ ${data.y_axis}`, grid: true, tickFormat: "~s" },
      marks: [
        ...long.marks,
        ...data.series.map((one) => Plot.line(one.points, { x: "x", y: "y", ...style[one.mark] })),
        Plot.dot(flat.filter((d) => !d.knee && !d.limit), { x: "x", y: "y", r: 4, fill: PAPER, stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(flat.filter((d) => d.knee && !d.limit), { x: "x", y: "y", r: 8, symbol: "star", fill: colour, stroke: PAPER }),
        Plot.dot(flat.filter((d) => d.limit), { x: "x", y: "y", r: 5, symbol: "times", stroke: BAD, strokeWidth: 2 }),
        Plot.text(flat, { x: "x", y: "y", text: (d) => `${d.batch}`, dy: 15, fill: FAINT, stroke: PAPER, strokeWidth: 3 }),
        tip(flat, { x: "x", y: "y", title: (d) => `${d.name}\nbatch ${d.batch}: ${plain(d.y)} items a second${d.note ? `\n${d.note}` : ""}` }),
      ],
    });
  }

  function frontier(data, width) {
    return plot(width, {
      height: width < NARROW ? 280 : 320,
      marginLeft: 60,
      x: { domain: spread(data.points.map((d) => d.x), 0.1), label: `${data.x_axis} →`, grid: true, ticks: most(width) },
      y: { domain: spread(data.points.map((d) => d.y), 0.12), label: `↑ ${data.y_axis}`, grid: true },
      marks: [
        Plot.line(d3.sort(data.points, (d) => d.x), { x: "x", y: "y", stroke: RULE, strokeWidth: 1.5 }),
        Plot.dot(data.points.filter((d) => d.passed), { x: "x", y: "y", r: 6, fill: ACCENT, stroke: PAPER }),
        Plot.dot(data.points.filter((d) => !d.passed), { x: "x", y: "y", r: 5, symbol: "times", stroke: BAD, strokeWidth: 2 }),
        tip(data.points, { x: "x", y: "y", title: (d) => `${d.name}\nsaves ${plain(d.x)} % of a call, parity ${d3.format(".5f")(d.y)}, ${d.passed ? "agrees" : "does not agree"}` }),
      ],
    });
  }

  function layers(data, width) {
    const up = logarithmic("y", spreadLog(data.points.map((d) => d.y), 2), { label: `↑ ${data.y_axis}`, text: small, most: 6 });
    return plot(width, {
      height: width < NARROW ? 300 : 360,
      marginLeft: 60,
      x: { domain: spread([0, ...data.points.map((d) => d.x)], 0.06), label: `${data.x_axis} →`, grid: true, ticks: most(width) },
      y: up.scale,
      marks: [
        ...up.marks,
        Plot.ruleX([0], { stroke: FAINT }),
        Plot.dot(data.points, { x: "x", y: "y", r: 5, fill: (d) => (d.kept ? PAPER : ACCENT), stroke: (d) => (d.kept ? FAINT : PAPER), strokeWidth: 1.5 }),
        tip(data.points, { x: "x", y: "y", title: (d) => `${d.name}\nsaves ${plain(d.x)} µs, moves the outputs by ${d3.format(".2~g")(d.y)}` }),
      ],
    });
  }

  function roofline(data, width) {
    const top = d3.max(data.compute, (d) => d.value) ?? d3.max(data.points, (d) => d.y);
    const ridges = data.bandwidths.map((d) => top / d.value);
    const [low, high] = spreadLog([...data.points.map((d) => d.x), ...ridges], 3);
    const floor = Math.min(d3.min(data.points, (d) => d.y) / 3, top / 1e3);
    const slopes = data.bandwidths.map((d) => {
      const start = Math.max(low, floor / d.value);
      return { name: d.name, x1: start, y1: d.value * start, x2: Math.max(start, top / d.value), y2: Math.max(d.value * start, top), value: d.value };
    });
    // Lines of like bandwidth lie close together: each has its name at another place along it.
    slopes.forEach((d, i) => {
      const along = 0.2 + (0.32 * i) / Math.max(1, slopes.length - 1);
      d.x = d.x1 * (d.x2 / d.x1) ** along;
      d.y = d.y1 * (d.y2 / d.y1) ** along;
    });
    const rate = (value, unit) => plain(value).replace(/^([\d.,]+)/, "$1 ") + unit;
    const named = { x: "x", y: "y", text: (d) => `${d.name}, ${rate(d.value, "B/s")}`, fill: INK, stroke: PAPER, strokeWidth: 4 };
    const fastest = d3.max(data.bandwidths, (d) => d.value);
    const flats = data.compute.map((d) => ({ ...d, x1: fastest ? Math.max(low, d.value / fastest) : low, x2: high }));
    const long = logarithmic("x", [low, high], { label: `${data.x_axis} →`, text: plain, most: most(width) });
    const up = logarithmic("y", [floor, top * 2.2], { label: `↑ ${data.y_axis}`, text: plain, most: 7 });
    return plot(width, {
      height: width < NARROW ? 360 : 460,
      marginLeft: 56,
      marginRight: 24,
      x: long.scale,
      y: up.scale,
      r: { type: "sqrt", domain: [0, d3.max(data.points, (d) => d.share) || 1], range: [0, width < NARROW ? 13 : 19] },
      marks: [
        ...long.marks,
        ...up.marks,
        Plot.link(slopes, { x1: "x1", y1: "y1", x2: "x2", y2: "y2", stroke: INK, strokeWidth: 1.5 }),
        Plot.link(flats, { x1: "x1", y1: "value", x2: "x2", y2: "value", stroke: INK, strokeWidth: 1.5 }),
        Plot.text(flats, { x: "x2", y: "value", text: (d) => `${d.name}, ${rate(d.value, "OP/s")}`, textAnchor: "end", dy: -8, fill: INK }),
        Plot.text(slopes.slice(0, 1), { ...named, textAnchor: "end", dx: -6, dy: -8 }),
        Plot.text(slopes.slice(1), { ...named, textAnchor: "start", dx: 9, dy: 9 }),
        Plot.dot(data.points, { x: "x", y: "y", r: (d) => Math.max(d.share, 2e-3), fill: ACCENT, fillOpacity: 0.16, stroke: ACCENT, strokeOpacity: 0.7 }),
        tip(data.points, { x: "x", y: "y", title: (d) => `${d.name}\n${d.detail}\n${plain(d.y)} operations/s at ${plain(d.x)} a byte` }),
      ],
    });
  }

  function course(data, width) {
    const last = data.points.at(-1);
    const drawn = [...data.points, { ...last, x: last.x + 1 }];
    return plot(width, {
      height: 280,
      marginLeft: 56,
      x: { label: `${data.x_axis} →`, domain: [0, drawn.at(-1).x], tickFormat: "d", ticks: Math.min(drawn.at(-1).x, most(width)) },
      y: { label: `↑ ${data.y_axis}`, domain: [0, data.peak.y * 1.15 || 1], grid: true },
      marks: [
        Plot.areaY(drawn, { x: "x", y: "y", curve: "step-after", fill: SOFT }),
        Plot.lineY(drawn, { x: "x", y: "y", curve: "step-after", stroke: ACCENT, strokeWidth: 2 }),
        Plot.dot([data.peak], { x: "x", y: "y", r: 8, symbol: "star", fill: ACCENT, stroke: PAPER }),
        Plot.text([data.peak], { x: "x", y: "y", text: "name", dx: 12, dy: -10, textAnchor: data.peak.x > drawn.at(-1).x * 0.8 ? "end" : "start", fill: INK, fontWeight: 600 }),
        tip(data.points, { x: "x", y: "y", title: (d) => `${d.name}\n${plain(d.y)} ${data.unit} alive` }),
      ],
    });
  }

  function pairs(data, width) {
    const ends = data.rows.flatMap((d) => [d.first, d.steady]).filter((v) => v > 0);
    const held = (v) => Math.max(v, d3.min(ends));
    const long = logarithmic("x", spreadLog(ends, 1.4), { label: `${data.axis} →`, text: plain, most: most(width) });
    return rows(width, [...new Set(data.rows.map((d) => d.name))], { x: long.scale }, (dy) => [
      ...long.marks,
      Plot.ruleY(data.rows, { y: "name", x1: (d) => held(d.steady), x2: (d) => held(d.first), stroke: RULE, strokeWidth: 4, dy }),
      Plot.dot(data.rows, { y: "name", x: (d) => held(d.first), r: 5, fill: PAPER, stroke: FAINT, strokeWidth: 1.5, dy }),
      Plot.dot(data.rows, { y: "name", x: (d) => held(d.steady), r: 5, fill: ACCENT, stroke: PAPER, dy }),
      tip(data.rows, { y: "name", x: (d) => held(d.first), title: (d) => `${d.name}\nfirst ${plain(d.first)}, steady ${plain(d.steady)}` }),
    ]);
  }

  function differences(data, width, chosen = 0) {
    const found = data.groups[chosen].rows;
    const drawn = found.filter((d) => d.low !== null && d.high !== null);
    const domain = spread([0, ...found.map((d) => d.value), ...drawn.flatMap((d) => [d.low, d.high])], 0.05);
    return rows(width, [...new Set(found.map((d) => d.name))], {
      x: { domain, label: `${data.axis} →`, grid: true, ticks: most(width) },
    }, (dy) => [
      Plot.ruleX([0], { stroke: FAINT }),
      Plot.ruleY(drawn, { y: "name", x1: "low", x2: "high", stroke: (d) => (d.clear ? ACCENT : FAINT), strokeWidth: 4, strokeOpacity: 0.5, dy }),
      Plot.dot(found, { y: "name", x: "value", r: 5, fill: (d) => (d.clear ? ACCENT : PAPER), stroke: (d) => (d.clear ? PAPER : FAINT), strokeWidth: 1.5, dy }),
      tip(found, { y: "name", x: "value", title: (d) => `${d.name}\n${d.value > 0 ? "+" : ""}${plain(d.value)}` }),
    ]);
  }

  return { differences, distribution, epochs, landscape, effects, bars, load, frontier, layers, roofline, course, pairs };
})();
