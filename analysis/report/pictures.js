"use strict";
// Pictures come as strips, a panel's cells side by side. A strip is in the document once, and cells are views of it.
const SHELF = vector("svg", { width: 0, height: 0, style: "position:absolute", "aria-hidden": "true" });
const DEFS = SHELF.appendChild(vector("defs"));
document.body.append(SHELF);

function onShelf(number) {
  const id = `strip-${number}`;
  if (!document.getElementById(id)) {
    const { image, count, side } = PAGE.strips[number];
    const pixels = side <= 96 ? "image-rendering: pixelated" : "";
    DEFS.append(vector("image", { id, href: image, width: count * side, height: side, style: pixels }));
  }
  return `#${id}`;
}

function skeletonOf(joints, side) {
  const drawn = vector("g", { class: "skeleton", fill: "none", "stroke-linecap": "round" });
  const lines = PAGE.cells.limbs.filter(([a, b]) => joints[a][2] && joints[b][2])
    .map(([a, b]) => `M${joints[a][0] * side} ${joints[a][1] * side}L${joints[b][0] * side} ${joints[b][1] * side}`).join("");
  const dots = joints.filter((joint) => joint[2]).map(([x, y]) => `M${x * side} ${y * side}h0`).join("");
  drawn.append(
    vector("path", { d: lines, stroke: "#fff", "stroke-width": side * 0.035 }),
    vector("path", { d: dots, stroke: "#fff", "stroke-width": side * 0.06 }),
    vector("path", { d: lines, stroke: "#000", "stroke-width": side * 0.014 }),
    vector("path", { d: dots, stroke: "#d55e00", "stroke-width": side * 0.042 }));
  return drawn;
}

function cell(number, i) {
  const { side, joints } = PAGE.strips[number];
  const use = vector("use", { href: onShelf(number), x: -i * side });
  const drawn = vector("svg", { class: "cell", viewBox: `0 0 ${side} ${side}`, role: "img" }, use);
  if (joints) {
    drawn.append(skeletonOf(joints[i], side));
    const found = joints[i].filter((joint) => joint[2]).length;
    drawn.append(vector("title", {}, `the judge found ${found} of ${joints[i].length} joints`));
  }
  return drawn;
}

function hasTargets() { return PAGE.special.targets !== undefined; }

function gradeOf(i) { return PAGE.cells.grades[i] || ""; }

// Two rows of a point's own panel: each picture below the pose that it should show.
function panelOf(number) {
  const grid = element("div", { class: "cells" });
  for (let i = 0; i < PAGE.strips[number].count; i++) {
    const figure = element("figure");
    if (hasTargets()) figure.append(cell(PAGE.special.targets, i));
    figure.append(cell(number, i), element("figcaption", {}, [gradeOf(i), PAGE.cells.prompts[i]].filter(Boolean).join(": ")));
    grid.append(figure);
  }
  return grid;
}

// Members of the front below each other, cells beside each other: a column is one pose, prompt and noise.
function gallery(table) {
  const members = PAGE.gallery.map((index) => ({ index, number: PAGE.points.pictures[index] }));
  const counts = [...members.map((member) => member.number), PAGE.special.targets, PAGE.special.base]
    .filter((number) => number >= 0).map((number) => PAGE.strips[number].count);
  const count = Math.max(0, ...counts);
  const row = (head, number, why) => {
    const made = element("tr", {}, element("th", {}, ...head));
    if (!(number >= 0)) made.append(element("td", { colspan: count + 1, class: "quiet" }, why));
    else for (let i = 0; i < count; i++) {
      if (i && gradeOf(i) !== gradeOf(i - 1)) made.append(element("td", { class: "gap" }));
      made.append(i < PAGE.strips[number].count ? element("td", {}, cell(number, i)) : element("td"));
    }
    return made;
  };
  const grades = element("tr", {}, element("th", {}, "poses"));
  for (let i = 0; i < count; i++) {
    if (i && gradeOf(i) !== gradeOf(i - 1)) grades.append(element("td", { class: "gap" }));
    grades.append(element("td", {}, i === 0 || gradeOf(i) !== gradeOf(i - 1) ? gradeOf(i) : ""));
  }
  table.append(grades);
  if (hasTargets()) table.append(row(["asked for"], PAGE.special.targets));
  for (const member of members) {
    later(() => table.append(row([element("b", { class: "name" }, nameOf(member.index)), ...marksOf(member.index),
      element("span", { class: "quiet" }, scoresOf(member.index))], member.number, whyNone(member.number))));
  }
  later(() => {
    if (PAGE.special.base !== undefined) table.append(row([element("b", {}, "untuned base")], PAGE.special.base));
  });
}

function whyNone(number) {
  return number === -1 ? "its picture is not on disk any more"
    : "its picture was left out, to keep this page small";
}
