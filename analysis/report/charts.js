"use strict";
// Draws the page's figures: the first at once, the others when they are looked at, all of them before printing.
const PAGE = JSON.parse(document.getElementById("page-data").textContent);
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
const PAPER = 700; // pixels that a page of paper is wide
const pending = [];

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function vector(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function later(work) { pending.push(work); }

function draw(plot) {
  if (plot._fullLayout) return;
  const figure = PAGE.figures[plot.dataset.figure];
  Plotly.newPlot(plot, figure.data, figure.layout, { ...CONFIG, displayModeBar: false });
}

function drawAll() {
  while (pending.length) pending.shift()();
  document.querySelectorAll(".plot[data-figure]").forEach(draw);
}

// A figure is drawn when somebody comes near it.
function drawFigures() {
  const near = new IntersectionObserver((seen) => seen.filter((each) => each.isIntersecting).forEach((each) => {
    near.unobserve(each.target);
    later(() => draw(each.target));
    if (pending.length === 1) requestIdleCallback(workOff, { timeout: 200 });
  }), { rootMargin: "700px 0px" });
  for (const plot of document.querySelectorAll(".plot[data-figure]")) {
    plot.style.minHeight = `${PAGE.figures[plot.dataset.figure].layout.height}px`;
    near.observe(plot);
  }
}

function workOff(deadline) {
  do pending.shift()?.();
  while (pending.length && deadline.timeRemaining() > 8);
  if (pending.length) requestIdleCallback(workOff, { timeout: 200 });
  else document.documentElement.dataset.ready = Math.round(performance.now());
}

function start() {
  drawFigures();
  if (!window.requestIdleCallback) window.requestIdleCallback = (work) => setTimeout(() => work({ timeRemaining: () => 0 }), 0);
  requestIdleCallback(workOff, { timeout: 200 });
}

function resizeAll(width) {
  drawAll();
  for (const plot of document.querySelectorAll(".plot")) {
    if (plot._fullLayout) Plotly.relayout(plot, width ? { width: width(plot), autosize: false } : { width: null, autosize: true });
  }
}

addEventListener("beforeprint", () => resizeAll((plot) => {
  const row = plot.closest(".plots");
  return row ? PAPER / (row.classList.contains("three") ? 3 : 2) - 12 : PAPER;
}));
addEventListener("afterprint", () => resizeAll(null));
