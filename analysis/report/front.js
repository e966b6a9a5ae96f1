"use strict";
// The plot of the front: what is drawn on two axes and a colour, the way of a trial on hover, its pictures on click.
const POINTS = PAGE.points;
const FRONT = "#D55E00", KNEE = "#CC79A7", PICK = "#0072B2", INK = "#333333", GRID = "#E6E6E6";
const isFront = new Set(POINTS.front);
const ways = new Map(); // the points of a trial drawn in one way, by steps
POINTS.trial.forEach((trial, i) => {
  const key = `${trial} ${POINTS.label[i]}`;
  if (!ways.has(key)) ways.set(key, []);
  ways.get(key).push(i);
});
for (const way of ways.values()) way.sort((a, b) => POINTS.steps[a] - POINTS.steps[b]);

function wayOf(i) { return ways.get(`${POINTS.trial[i]} ${POINTS.label[i]}`); }

function nameOf(i) {
  return `${POINTS.trials[POINTS.trial[i]].name}@${POINTS.steps[i]}` + (POINTS.label[i] ? `:${POINTS.label[i]}` : "");
}

function number(value) { return value === null || value === undefined ? "–" : value.toFixed(3); }

function scoresOf(i) {
  return POINTS.objectives.map((o) => `${o.name} ${number(POINTS.scores[o.name][i])}`).join(", ");
}

function marksOf(i) {
  return [["pick", POINTS.pick], ["knee", POINTS.knee]].filter(([, at]) => at === i)
    .map(([mark]) => element("span", { class: `mark ${mark}` }, mark));
}

function valuesOf(name) { return name === "steps" ? POINTS.steps : POINTS.scores[name]; }

function axisOf(name) {
  const objective = POINTS.objectives.find((o) => o.name === name);
  const small = (text) => `<br><span style="font-size:${innerWidth < 560 ? 10 : 12}px">${text}</span>`;
  const title = objective
    ? `<b>${name} (${objective.direction === "maximize" ? "higher" : "lower"} is better)</b>` + small(objective.about)
    : `<b>${name}</b>` + (name === "steps" ? small("optimizer steps behind a checkpoint") : "");
  return { title: { text: title, standoff: 8 }, type: name === "steps" ? "log" : "linear", showgrid: true, gridcolor: GRID,
    zeroline: false, showline: true, linecolor: INK, ticks: "outside", automargin: true,
    ...(name === "steps" ? { tickvals: [...new Set(POINTS.steps)] } : {}) };
}

function colourAxis(name) {
  const values = valuesOf(name).filter((value) => value !== null);
  const steps = name === "steps";
  const shown = steps ? values.map(Math.log) : values;
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const objective = POINTS.objectives.find((o) => o.name === name);
  const way = objective ? ` (${objective.direction === "maximize" ? "higher" : "lower"} is better)` : "";
  const low = shown.reduce((a, b) => Math.min(a, b), Infinity), high = shown.reduce((a, b) => Math.max(a, b), -Infinity);
  const bar = { orientation: "h", thickness: 10, len: 0.5, x: 1, xanchor: "right", y: 1.0, yanchor: "bottom", outlinewidth: 0,
    title: { text: name + way, side: "top", font: { size: 12 } }, tickfont: { size: 11 } };
  if (steps) Object.assign(bar, { tickvals: ticks.map(Math.log), ticktext: ticks.map(String) });
  return { colorscale: "Viridis", cmin: low < high ? low : low - 0.5, cmax: low < high ? high : high + 0.5, colorbar: bar,
    showscale: values.length > 0, reversescale: !!objective && objective.direction === "minimize" };
}

function coloured(name, chosen) {
  const values = valuesOf(name);
  return chosen.map((i) => (name === "steps" ? Math.log(values[i]) : values[i]));
}

function drawnFront(x, y, colour) {
  const xs = valuesOf(x), ys = valuesOf(y);
  const points = (chosen, name, marker, more) => ({
    type: "scatter", mode: "markers", name, x: chosen.map((i) => xs[i]), y: chosen.map((i) => ys[i]), customdata: chosen,
    hoverinfo: "none", marker: { color: coloured(colour, chosen), coloraxis: "coloraxis", ...marker }, ...more });
  const mark = (i, name, marker, xy) => ({ type: "scatter", mode: "markers", name, hoverinfo: "none",
    x: [xy ? xy[0] : xs[i]], y: [xy ? xy[1] : ys[i]], customdata: [i], marker });
  const behind = POINTS.trial.map((_, i) => i).filter((i) => !isFront.has(i));
  const confirmed = POINTS.confirmed.filter((each) => each.front);
  const sure = confirmed.length > 0;
  const edge = { color: INK, width: behind.length > 2000 ? 0 : 0.5 };
  const traces = [points(behind, "scored checkpoint", { size: 6.5, line: edge }, { opacity: 0.5 })];
  const native = POINTS.objectives.length === 2 && x === POINTS.objectives[0].name && y === POINTS.objectives[1].name;
  if (native && POINTS.stairs.length) {
    traces.push({ type: "scatter", mode: "lines", x: POINTS.stairs.map((p) => p[0]), y: POINTS.stairs.map((p) => p[1]),
      hoverinfo: "skip", showlegend: false, line: { color: FRONT, width: sure ? 1 : 2.5, dash: sure ? "dot" : "solid" } });
  }
  traces.push(points(POINTS.front, sure ? "front as scored" : "front",
    { size: sure ? 9 : 12, opacity: sure ? 0.6 : 1, line: { color: FRONT, width: 2.5 } }));
  const measured = POINTS.confirmed.filter((each) => each.means[x] !== undefined && each.means[y] !== undefined);
  for (const [chosen, name, symbol] of [[measured.filter((e) => e.front), "confirmed: mean and 95 % interval", "diamond"],
    [measured.filter((e) => !e.front), "tried again, not on the front", "diamond-open"]]) {
    if (!chosen.length) continue;
    const bars = (axis) => ({ array: chosen.map((e) => e.halves[axis] || 0), color: INK, thickness: name[0] === "c" ? 1.5 : 0.7, width: 4 });
    const seen = points(chosen.map((e) => e.point), name, { symbol, size: name[0] === "c" ? 13 : 9, opacity: name[0] === "c" ? 1 : 0.6,
      line: { color: FRONT, width: 2 } });
    traces.push({ ...seen, x: chosen.map((e) => e.means[x]), y: chosen.map((e) => e.means[y]), error_x: bars(x), error_y: bars(y) });
  }
  const place = (i) => {
    const again = measured.find((each) => each.point === i && each.front);
    return again && sure ? [again.means[x], again.means[y]] : [xs[i], ys[i]];
  };
  if (POINTS.knee !== null) traces.push(mark(POINTS.knee, `knee: ${nameOf(POINTS.knee)}`,
    { symbol: "circle-open", size: 25, color: KNEE, line: { width: 3.5 } }, place(POINTS.knee)));
  if (POINTS.pick !== null) traces.push(mark(POINTS.pick, `pick: ${nameOf(POINTS.pick)}`,
    { symbol: "square-open", size: 31, color: PICK, line: { width: 2.5 } }, place(POINTS.pick)));
  const base = POINTS.base;
  if (base && base[x] !== undefined && base[y] !== undefined) traces.push({ type: "scatter", mode: "markers", name: "untuned base",
    x: [base[x]], y: [base[y]], hovertemplate: `untuned base<br>${x} ${number(base[x])}<br>${y} ${number(base[y])}<extra></extra>`,
    marker: { symbol: "x", size: 12, color: "#000", line: { color: "#fff", width: 1 } } });
  return traces;
}

// Around all that is drawn: the border of the front goes on to the nadir.
function extent(name) {
  const again = POINTS.confirmed.filter((each) => each.means[name] !== undefined)
    .flatMap((each) => [each.means[name] - (each.halves[name] || 0), each.means[name] + (each.halves[name] || 0)]);
  const shown = [...valuesOf(name), ...again, POINTS.base?.[name]].filter((value) => value !== null && value !== undefined);
  if (!shown.length) return {};
  let low = shown.reduce((a, b) => Math.min(a, b)), high = shown.reduce((a, b) => Math.max(a, b));
  if (name === "steps") [low, high] = [Math.log10(low), Math.log10(high)];
  const margin = Math.max(0.07 * (high - low), 0.02);
  return { range: [low - margin, high + margin] };
}

function frontLayout(x, y, colour) {
  const small = innerWidth < 560;
  return { height: small ? 560 : 620, font: { family: "system-ui, sans-serif", size: 13, color: INK }, plot_bgcolor: "white", paper_bgcolor: "white",
    margin: { l: 64, r: 14, t: 58, b: small ? 150 : 110 }, hovermode: "closest", hoverdistance: 14,
    xaxis: { ...axisOf(x), ...extent(x) }, yaxis: { ...axisOf(y), ...extent(y) }, coloraxis: colourAxis(colour),
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, font: { size: 12 }, itemsizing: "trace" } };
}

function startFront() {
  const plot = document.getElementById("front-plot");
  if (!plot) return;
  const names = [...POINTS.objectives.map((o) => o.name), "steps",
    ...Object.keys(POINTS.scores).filter((name) => !POINTS.objectives.some((o) => o.name === name))];
  const own = POINTS.objectives.map((o) => o.name);
  const choice = { x: own[0], y: own[1] || "steps", colour: own[2] || (own[1] ? "steps" : own[0]) };
  const selects = ["x", "y", "colour"].map((role) => {
    const select = document.getElementById(`choose-${role}`);
    for (const name of names) select.append(element("option", name === choice[role] ? { selected: "" } : {}, name));
    select.addEventListener("change", () => {
      choice[role] = select.value;
      Plotly.react(plot, drawnFront(choice.x, choice.y, choice.colour), frontLayout(choice.x, choice.y, choice.colour), CONFIG);
    });
    return select;
  });
  Plotly.newPlot(plot, drawnFront(choice.x, choice.y, choice.colour), frontLayout(choice.x, choice.y, choice.colour), CONFIG);
  const trail = plot.appendChild(vector("svg", { class: "trail" }));
  const tip = plot.appendChild(element("div", { class: "tip" }));
  plot.on("plotly_hover", ({ points }) => {
    const i = points[0].customdata;
    if (i === undefined) return;
    drawTrail(plot, trail, i, choice);
    showTip(plot, tip, i, trail.getBBox());
  });
  plot.on("plotly_unhover", () => { trail.replaceChildren(); tip.style.display = "none"; });
  plot.on("plotly_relayout", () => { trail.replaceChildren(); tip.style.display = "none"; });
  plot.on("plotly_click", ({ points }) => { if (points[0].customdata !== undefined) choosePoint(points[0].customdata); });
  const first = POINTS.pick ?? POINTS.knee ?? POINTS.front[0];
  if (first !== undefined) choosePoint(first);
  performance.mark("front");
}

// The way of a trial through the two axes as its steps grow.
function drawTrail(plot, trail, i, { x, y }) {
  const { xaxis, yaxis } = plot._fullLayout;
  const at = (j) => [xaxis._offset + xaxis.d2p(valuesOf(x)[j]), yaxis._offset + yaxis.d2p(valuesOf(y)[j])];
  const way = wayOf(i).filter((j) => valuesOf(x)[j] !== null && valuesOf(y)[j] !== null);
  const line = way.map((j) => at(j).join(",")).join(" ");
  trail.replaceChildren(
    vector("polyline", { points: line, fill: "none", stroke: "#fff", "stroke-width": 5, opacity: 0.8 }),
    vector("polyline", { points: line, fill: "none", stroke: "#000", "stroke-width": 2 }),
    ...way.flatMap((j) => {
      const [left, top] = at(j);
      return [vector("circle", { cx: left, cy: top, r: j === i ? 6 : 4, fill: j === i ? FRONT : "#fff", stroke: "#000", "stroke-width": 1.5 }),
        vector("text", { x: left + 8, y: top - 7, "font-size": 11, stroke: "#fff", "stroke-width": 3, "paint-order": "stroke" }, String(POINTS.steps[j]))];
    }));
}

// Beside the way, where there is room; on a narrow page below it.
function showTip(plot, tip, i, way) {
  const { width } = plot._fullLayout;
  const trial = POINTS.trials[POINTS.trial[i]];
  const lines = Object.keys(POINTS.scores).filter((name) => POINTS.scores[name][i] !== null)
    .map((name, k) => (k < POINTS.objectives.length ? element("b", {}, `${name} ${number(POINTS.scores[name][i])}`) : `${name} ${number(POINTS.scores[name][i])}`));
  const again = POINTS.confirmed.find((each) => each.point === i);
  tip.replaceChildren(element("b", { class: "name" }, nameOf(i)), ...lines.flatMap((line) => [element("br"), line]),
    ...(again ? [element("br"), `${again.front ? "confirmed" : "not confirmed"}: ` + POINTS.objectives.map((o) =>
      `${o.name} ${number(again.means[o.name])}${again.halves[o.name] === undefined ? "" : ` ± ${number(again.halves[o.name])}`}`).join(", ")] : []),
    element("div", { class: "recipe" }, Object.entries(trial.recipe).map(([name, value]) => `${name} ${value}`).join(", ")));
  tip.style.display = "block";
  const gap = 14, right = way.x + way.width + gap, left = way.x - gap - tip.offsetWidth;
  const beside = right + tip.offsetWidth < width ? right : left > 0 ? left : null;
  tip.style.left = `${beside ?? Math.max(4, Math.min(way.x, width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${beside === null ? way.y + way.height + gap : Math.max(4, way.y + way.height / 2 - tip.offsetHeight / 2)}px`;
}

// What is known of a point, below the plot.
function choosePoint(i) {
  const box = document.getElementById("chosen");
  const trial = POINTS.trials[POINTS.trial[i]];
  const steps = wayOf(i).map((j) => {
    const button = element("button", { "aria-current": j === i }, String(POINTS.steps[j]));
    button.addEventListener("click", () => choosePoint(j));
    return button;
  });
  const scores = Object.keys(POINTS.scores).filter((name) => POINTS.scores[name][i] !== null)
    .map((name) => `${name} ${number(POINTS.scores[name][i])}`).join(", ");
  const picture = POINTS.pictures[i];
  box.dataset.point = nameOf(i);
  box.replaceChildren(
    element("h3", {}, element("span", { class: "name" }, nameOf(i)), ...marksOf(i)),
    element("p", { class: "screen" }, "steps of its trial: ", ...steps.flatMap((button) => [button, " "])),
    element("p", {}, scores + (POINTS.missed.includes(i) ? "; it misses what is required" : "")),
    element("p", { class: "quiet" }, `seed ${trial.seed}; ` + Object.entries(trial.recipe).map(([name, value]) => `${name} ${value}`).join(", ")),
    picture >= 0 ? panelOf(picture) : element("p", { class: "quiet" }, `No picture here: ${whyNone(picture)}.`));
}

startFront();
const table = document.getElementById("gallery");
if (table) gallery(table);
for (const box of document.querySelectorAll("[data-toggle]")) {
  box.addEventListener("change", () => document.body.classList.toggle(box.dataset.toggle, box.checked));
}
start();
