// The grid of drawings: rows of a prompt and a seed, columns of checkpoints, the base first. It is walked by arrow keys.

import { pathOf } from "./talk.js";

const at = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
let shown = { rows: [], columns: [] }, here = [0, 0], run = null, api = "", open = null, kept = "", filters = { role: "", seed: null, strength: "" };

export function forgetGrid() { kept = ""; here = [0, 0]; filters = { role: "", seed: null, strength: "" }; at("cells").replaceChildren(); }

export function drawGrid(newRun, newApi, newOpen) {
  [run, api, open] = [newRun, newApi, newOpen];
  offer();
  draw();
}

function offer() {
  const { rows, prompts, columns } = run.drawings;
  const seeds = [...new Set(rows.map((row) => row.seed))].sort((one, other) => one - other);
  if (filters.seed === null) filters.seed = String(seeds[0]);
  const roles = [...new Map(prompts.map((each) => [each.kind, each.role]))];
  const strengths = [...new Set(columns.filter((each) => each.file).map((each) => each.strength))].sort((one, other) => one - other);
  at("seed").replaceChildren(new Option("every seed", ""), ...seeds.map((each) => new Option(`seed ${each}`, each)));
  at("role").replaceChildren(new Option("all", ""), ...roles.map(([kind, words]) => new Option(words, kind)));
  at("at-strength").replaceChildren(new Option("all", ""), ...strengths.map((each) => new Option(each, each)));
  [at("seed").value, at("role").value, at("at-strength").value] = [filters.seed, filters.role, filters.strength];
  at("strength-field").hidden = strengths.length < 2;
}
for (const [id, name] of [["seed", "seed"], ["role", "role"], ["at-strength", "strength"]]) at(id).addEventListener("change", () => { filters[name] = at(id).value; here = [0, 0]; draw(); });
const resized = () => at("cells").style.setProperty("--side", `${at("size").value}px`);
at("size").addEventListener("input", resized);
if (at("size").value !== at("size").defaultValue) resized();  // moved before this script was there
else if (matchMedia("(max-width: 640px)").matches) at("size").value = 96;

function draw() {
  const { rows, prompts, columns, there, wanted } = run.drawings;
  shown.columns = columns.map((column, place) => ({ ...column, place })).filter((each) => !each.file || !filters.strength || String(each.strength) === filters.strength);
  shown.rows = rows.map((row, place) => ({ ...row, place, text: prompts[row.prompt].text, role: prompts[row.prompt].role, kind: prompts[row.prompt].kind })).filter((row) => (!filters.role || row.kind === filters.role) && (!filters.seed || String(row.seed) === filters.seed));
  at("counted").textContent = there < wanted ? `${there} of ${wanted} are there` : `${there}`;
  const key = JSON.stringify([run.name, filters, run.choice?.label, shown.rows.map((row) => [row.text, row.seed]), shown.columns.map((each) => each.label), run.numbers?.columns.map((each) => each.total?.mean)]);
  if (key !== kept) build();
  kept = key;
  for (const [y, row] of shown.rows.entries()) for (const [x, column] of shown.columns.entries()) picture(cell(y, x), row, column);
  here = [Math.min(here[0], Math.max(0, shown.rows.length - 1)), Math.min(here[1], shown.columns.length - 1)];
  rove();
}

function build() {
  const totals = new Map((run.numbers?.columns ?? []).map((each) => [each.label, each.total]));
  const head = document.createElement("tr");
  head.append(make("th", "Prompt", { scope: "col" }), ...shown.columns.map((column) => {
    const cellHead = make("th", column.label, { scope: "col" }), total = totals.get(column.label);
    if (total) cellHead.append(make("small", `score ${total.mean.toFixed(2)}`));
    else if (!column.file) cellHead.append(make("small", "the base alone"));
    cellHead.classList.toggle("is-chosen", column.label === run.choice?.label);
    return cellHead;
  }));
  const body = shown.rows.map((row, y) => {
    const line = document.createElement("tr"), begins = row.prompt !== shown.rows[y - 1]?.prompt;
    const name = make("th", begins ? row.text || "(no prompt)" : "", { scope: "row" });
    if (begins) name.append(make("small", row.role)); else name.append(make("span", row.text, { className: "off" }));
    name.append(make("small", `seed ${row.seed}`));
    line.classList.toggle("begins", begins);
    line.append(name, ...shown.columns.map((column, x) => {
      const box = document.createElement("td"), button = make("button", "", { type: "button", className: "cell", tabIndex: -1 });
      box.classList.toggle("is-chosen", column.label === run.choice?.label);
      button.dataset.at = `${y},${x}`;
      box.append(button);
      return box;
    }));
    return line;
  });
  const thead = document.createElement("thead"), tbody = document.createElement("tbody");
  thead.append(head);
  tbody.append(...body);
  at("cells").replaceChildren(thead, tbody);
}

function picture(button, row, column) {
  const path = row.pictures[column.place] ?? "";
  if (button.dataset.path === path) return;
  button.dataset.path = path;
  button.classList.toggle("is-coming", !path);
  button.setAttribute("aria-label", `${column.label}, ${row.text || "no prompt"}, seed ${row.seed}${path ? "" : ": not drawn"}`);
  if (!path) return button.replaceChildren();
  const image = new Image();
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = "";
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 128);
  image.src = `${api}/thumbnail/384/${pathOf(path)}`;
  button.replaceChildren(image);
}

const cell = (y, x) => at("cells").tBodies[0].rows[y].cells[x + 1].firstChild;

function rove() {
  for (const button of at("cells").querySelectorAll('.cell[tabindex="0"]')) button.tabIndex = -1;
  if (shown.rows.length) cell(...here).tabIndex = 0;
}

function go(y, x) {
  here = [Math.max(0, Math.min(shown.rows.length - 1, y)), Math.max(0, Math.min(shown.columns.length - 1, x))];
  rove();
  cell(...here).focus();
}

function show(mode) {
  const row = shown.rows[here[0]];
  if (row.pictures.some(Boolean)) open({ rows: shown.rows, columns: shown.columns, back: (y, x) => go(y, x) }, here, mode);
}

at("cells").addEventListener("click", (event) => {
  const button = event.target.closest(".cell");
  if (!button) return;
  here = button.dataset.at.split(",").map(Number);
  rove();
  show("row");
});
at("cells").addEventListener("keydown", (event) => {
  const [y, x] = here, moves = { ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1], Home: [y, 0], End: [y, 1e6], PageUp: [y - 5, x], PageDown: [y + 5, x] };
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in moves) go(...moves[event.key]);
  else if (event.key.toLowerCase() === "c") show("slide");
  else return;
  event.preventDefault();
});
