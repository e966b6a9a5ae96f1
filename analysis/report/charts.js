"use strict";
performance.mark("plotly");
// Draws the page's figures one after the other, so that the first is there at once; all of them before printing.
const PAGE = JSON.parse(document.getElementById("page-data").textContent);
performance.mark("parsed");
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

function drawFigures() {
  for (const plot of document.querySelectorAll(".plot[data-figure]")) {
    const figure = PAGE.figures[plot.dataset.figure];
    later(() => Plotly.newPlot(plot, figure.data, figure.layout, { ...CONFIG, displayModeBar: false }));
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
  while (pending.length) pending.shift()();
  for (const plot of document.querySelectorAll(".plot")) {
    if (plot._fullLayout) Plotly.relayout(plot, width ? { width: width(plot), autosize: false } : { width: null, autosize: true });
  }
}

addEventListener("beforeprint", () => resizeAll((plot) => {
  const row = plot.closest(".plots");
  return row ? PAPER / (row.classList.contains("three") ? 3 : 2) - 12 : PAPER;
}));
addEventListener("afterprint", () => resizeAll(null));
