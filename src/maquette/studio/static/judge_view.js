// Drawings large: a whole row whose pictures zoom and move together, or two checkpoints under one slider.

import { get, pathOf } from "./talk.js";

const at = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
const dialog = at("view"), MOST = 16, STEP = 1.25, PAN = 0.08;
let grid = null, here = [0, 0], mode = "row", api = "", run = null, pair = [null, null];
let look = { x: 0, y: 0, scale: 1 }, drag = null, asked = 0;

export function openView(newRun, newApi, newGrid, place, newMode) {
  [run, api, grid, here, mode] = [newRun, newApi, newGrid, [...place], newMode];
  pair = pairFor(here[1]);
  show();
  if (!dialog.open) dialog.showModal();
  (mode === "row" ? at("row").querySelector(".is-here .pane") : at("share"))?.focus();
}

// The one that stands here, against the chosen one, else against the one before it.
function pairFor(x) {
  const chosen = grid.columns.findIndex((each) => each.label === run.choice?.label);
  const other = chosen >= 0 && chosen !== x ? chosen : x > 0 ? x - 1 : Math.min(1, grid.columns.length - 1);
  return x <= other ? [x, other] : [other, x];
}

const source = (row, column) => row.pictures[column.place] ? `${api}/picture/${pathOf(row.pictures[column.place])}` : "";

function show() {
  const row = grid.rows[here[0]];
  at("view-title").textContent = `${row.text || "(no prompt)"} · seed ${row.seed}`;
  for (const button of dialog.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  at("row").hidden = mode !== "row";
  at("slide").hidden = mode !== "slide";
  if (mode === "row") showRow(row); else showPair(row);
  apply();
  say();
}

function showRow(row) {
  const figures = grid.columns.map((column, x) => {
    const figure = document.createElement("figure"), pane = make("div", "", { className: "pane", tabIndex: x === here[1] ? 0 : -1 });
    pane.setAttribute("role", "img");
    pane.setAttribute("aria-label", `${column.label}${row.pictures[column.place] ? "" : ": not drawn"}`);
    pane.dataset.column = x;
    if (source(row, column)) pane.append(pictureOf(source(row, column)));
    figure.classList.toggle("is-here", x === here[1]);
    figure.append(pane, make("figcaption", column.label));
    return figure;
  });
  at("row").replaceChildren(...figures);
}

function pictureOf(from) {
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
  image.src = from;
  return image;
}

function showPair(row) {
  for (const [id, place] of [["left", 0], ["right", 1]]) at(id).replaceChildren(...grid.columns.map((column, x) => new Option(column.label, x, false, x === pair[place])));
  for (const [id, place] of [["over", 0], ["under", 1]]) {
    const image = at(id), from = source(row, grid.columns[pair[place]]);
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
    if (from) image.src = from; else image.removeAttribute("src");
    image.draggable = false;
    image.alt = grid.columns[pair[place]].label;
  }
  slide();
}

function slide() {
  const share = Number(at("share").value);
  at("over-box").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  at("edge").style.left = `${share}%`;
  at("share").setAttribute("aria-valuetext", `${share} % ${grid.columns[pair[0]].label}, the rest ${grid.columns[pair[1]].label}`);
}
at("share").addEventListener("input", slide);
for (const [id, place] of [["left", 0], ["right", 1]]) at(id).addEventListener("change", () => { pair[place] = Number(at(id).value); show(); });

// What the picture itself says: the text that drawing programs read out of it.
async function say() {
  const row = grid.rows[here[0]], column = grid.columns[mode === "row" ? here[1] : pair[0]], path = row.pictures[column.place];
  const mine = ++asked;
  at("said").textContent = "";
  if (!path) return;
  try {
    const answer = await get(`${api}/settings/${pathOf(path)}`);
    if (mine === asked) at("said").textContent = answer.settings ? `${column.label}\n${answer.settings}` : "";
  } catch { /* the picture stands there, with or without words about it */ }
}

// --- zoom and place, the same for all that is shown

function apply() {
  look.scale = Math.min(MOST, Math.max(1, look.scale));
  const least = 1 - look.scale;
  look.x = Math.min(0, Math.max(least, look.x));
  look.y = Math.min(0, Math.max(least, look.y));
  for (const image of dialog.querySelectorAll(".pane img")) image.style.transform = `translate(${100 * look.x}%, ${100 * look.y}%) scale(${look.scale})`;
}

function zoom(factor, x = 0.5, y = 0.5) {
  const next = Math.min(MOST, Math.max(1, look.scale * factor)), by = next / look.scale;
  look = { scale: next, x: x - (x - look.x) * by, y: y - (y - look.y) * by };
  apply();
}

function pan(x, y) { look.x += x; look.y += y; apply(); }

dialog.addEventListener("wheel", (event) => {
  const pane = event.target.closest(".pane");
  if (!pane) return;
  event.preventDefault();
  const box = pane.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
}, { passive: false });

dialog.addEventListener("pointerdown", (event) => {
  const pane = event.target.closest(".pane");
  if (!pane || event.button) return;
  const slides = pane.id === "slider" && !event.shiftKey && (look.scale === 1 || nearEdge(pane, event));
  drag = { pane, slides, x: event.clientX, y: event.clientY };
  pane.setPointerCapture(event.pointerId);
  if (slides) slideTo(pane, event);
  else if (pane.dataset.column) choose(Number(pane.dataset.column));
});
dialog.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (drag.slides) return slideTo(drag.pane, event);
  const box = drag.pane.getBoundingClientRect();
  pan((event.clientX - drag.x) / box.width, (event.clientY - drag.y) / box.height);
  [drag.x, drag.y] = [event.clientX, event.clientY];
});
for (const name of ["pointerup", "pointercancel"]) dialog.addEventListener(name, () => { drag = null; });

function nearEdge(pane, event) {
  const box = pane.getBoundingClientRect();
  return Math.abs(event.clientX - box.left - box.width * Number(at("share").value) / 100) < 28;
}

function slideTo(pane, event) {
  const box = pane.getBoundingClientRect();
  at("share").value = Math.round(100 * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  slide();
}

// --- keys and buttons

function choose(x) {
  here[1] = Math.max(0, Math.min(grid.columns.length - 1, x));
  for (const [place, figure] of [...at("row").children].entries()) {
    figure.classList.toggle("is-here", place === here[1]);
    figure.firstChild.tabIndex = place === here[1] ? 0 : -1;
  }
  at("row").querySelector(".is-here .pane")?.focus();
  say();
}

function turn(to) {
  mode = to;
  if (to === "slide") pair = pairFor(here[1]);
  show();
  (mode === "row" ? at("row").querySelector(".is-here .pane") : at("share"))?.focus();
}

function rowTo(y) {
  here[0] = Math.max(0, Math.min(grid.rows.length - 1, y));
  show();
  if (mode === "row") at("row").querySelector(".is-here .pane")?.focus();
}

for (const button of dialog.querySelectorAll("[data-mode]")) button.addEventListener("click", () => turn(button.dataset.mode));
at("in").addEventListener("click", () => zoom(STEP));
at("out").addEventListener("click", () => zoom(1 / STEP));
at("fit").addEventListener("click", () => { look = { x: 0, y: 0, scale: 1 }; apply(); });
at("shut").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { look = { x: 0, y: 0, scale: 1 }; grid.back(...here); });

dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const panning = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[event.key];
  if (event.key === "+" || event.key === "=") zoom(STEP);
  else if (event.key === "-") zoom(1 / STEP);
  else if (event.key === "0") { look = { x: 0, y: 0, scale: 1 }; apply(); }
  else if (event.key.toLowerCase() === "c") turn(mode === "row" ? "slide" : "row");
  else if (panning && event.shiftKey) pan(...panning);
  else if (event.key === "ArrowUp") rowTo(here[0] - 1);
  else if (event.key === "ArrowDown") rowTo(here[0] + 1);
  else if (mode === "row" && event.key === "ArrowLeft") choose(here[1] - 1);
  else if (mode === "row" && event.key === "ArrowRight") choose(here[1] + 1);
  else return;
  event.preventDefault();
});
