import { Grid, pictureTile } from "./grid.js";
import { get, pathOf, post, toast, told } from "./talk.js";

const root = document.querySelector(".pictures");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const zoom = at("zoom");
const STATES = { kept: "kept", rejected: "rejected", review: "to review", "": "not looked at" };
const WAIT_MS = 250;
let all = [], wanted = { state: "", reason: "", group: "", find: "", order: "name" };
let waiting = new Map(), timer = 0, sending = Promise.resolve(), redoable = [];

const thumbnail = (name, px) => `${api}/thumbnail/${px}/${pathOf(name)}`;
const picture = (name) => `${api}/picture/${pathOf(name)}`;

const grid = new Grid(at("grid"), at("sheet"), {
  make(item) {
    const tag = Object.assign(document.createElement("span"), { className: "tag" });
    tag.append(Object.assign(document.createElement("i"), { className: "dot" }), Object.assign(document.createElement("span"), { textContent: item.name.split("/").pop() }));
    return pictureTile(thumbnail(item.name, grid.wide * devicePixelRatio > 200 ? 384 : 192), "", tag);
  },
  paint(tile, item, isHere, isChosen) {
    tile.dataset.state = item.state;
    tile.dataset.by = item.by || "";
    tile.classList.toggle("here", isHere);
    tile.setAttribute("aria-selected", isHere || isChosen);
    tile.setAttribute("aria-label", [item.name, STATES[item.state], ...(item.reasons || []).map((each) => each.text)].join(", "));
  },
  onMove() { if (zoom.open) showLarge(); tell(); },
  onOpen() { open(); },
});

function filtered() {
  const part = wanted.find.toLowerCase();
  const found = all.filter((item) =>
    (!wanted.state || item.state === wanted.state)
    && (!wanted.reason || (item.reasons || []).some((each) => each.code === wanted.reason))
    && (wanted.group === "" || item.cluster === Number(wanted.group))
    && (!part || item.name.toLowerCase().includes(part)));
  const by = { quality: (item) => -(item.quality ?? 0), similarity: (item) => item.similarity ?? 9, cluster: (item) => item.cluster ?? 1e9 }[wanted.order];
  return by ? [...found].sort((one, other) => by(one) - by(other)) : found;
}

function refresh(keep = grid.current?.name) { grid.show(filtered(), keep); count(); tell(); }

function count() {
  for (const place of document.querySelectorAll("[data-count]")) {
    const state = place.dataset.count;
    place.textContent = (state ? all.filter((item) => item.state === state) : all).length.toLocaleString();
  }
  for (const chip of document.querySelectorAll("[data-state][aria-pressed]")) chip.setAttribute("aria-pressed", chip.dataset.state === wanted.state);
}

function tell() {
  const item = grid.current;
  const reason = item?.reasons?.[0]?.text;
  at("told").textContent = !item ? "nothing to show" : grid.chosen.size > 1 ? `${grid.chosen.size} chosen` : [`${grid.here + 1} of ${grid.items.length}`, reason].filter(Boolean).join(" · ");
}

// --- what is shown large

function showLarge() {
  const item = grid.current;
  if (!item) return zoom.close();
  const other = item.reasons?.find((each) => each.other && all.some((known) => known.name === each.other))?.other;
  for (const [id, name] of [["large", item.name], ["other", other]]) {
    const image = at(id);
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
    if (name) image.src = picture(name); else image.removeAttribute("src");
    image.alt = name || "";
  }
  at("name").textContent = item.name;
  at("other-name").textContent = other || "";
  at("beside").hidden = !other;
  at("state").textContent = STATES[item.state] + (item.by === "you" ? ", decided by you" : "");
  at("reasons").replaceChildren(...(item.reasons || []).map((each) => Object.assign(document.createElement("li"), { textContent: each.text })));
}

function open() { if (grid.current && !zoom.open) { showLarge(); zoom.showModal(); } }
zoom.addEventListener("close", () => at("grid").focus());

// --- deciding: shown at once, sent together a moment later

function decide(word, items = grid.meant, { quiet = false } = {}) {
  if (!items.length || !items[0].state) return;
  for (const item of items) {
    waiting.set(item.name, word);
    item.state = word === "automatic" ? item.state : word;
    item.by = word === "automatic" ? "" : "you";
  }
  redoable = quiet ? redoable : [];
  clearTimeout(timer);
  timer = setTimeout(send, WAIT_MS);
  const single = !grid.chosen.size;
  count();
  grid.repaint();
  if (!quiet && single) {
    if (wanted.state && wanted.state !== items[0].state) { const next = grid.items[grid.here + 1]?.name; refresh(next); if (zoom.open) showLarge(); }
    else grid.go(grid.here + 1);
  } else if (!quiet) refresh();
  if (zoom.open) showLarge();
}

function send() {
  clearTimeout(timer);
  if (!waiting.size) return sending;
  const words = {};
  for (const [name, word] of waiting) (words[word] ||= []).push(name);
  waiting = new Map();
  sending = sending.then(() => post(`${api}/decide`, { words })).then((answer) => {
    for (const item of all) if (item.name in answer.changed) item.state = answer.changed[item.name];
    undoable(answer.undo);
    grid.repaint();
    count();
  }).catch((error) => { told(error); return load(); });
  return sending;
}

// One after the other: whoever presses quickly means the state that the last key has led to.
let turn = Promise.resolve();
const undo = () => (turn = turn.then(takeBack));
const redo = () => (turn = turn.then(doAgain));

async function takeBack() {
  await send();
  const before = new Map(all.map((item) => [item.name, item]));
  try {
    const answer = await post(`${api}/undo-decision`);
    if (!answer.kind) return toast("There is nothing to take back.");
    await load();
    const words = {};
    for (const item of all) {
      const was = before.get(item.name);
      if (was && (was.state !== item.state || was.by !== item.by)) (words[was.by === "you" ? was.state : "automatic"] ||= []).push(item.name);
    }
    if (answer.kind === "yours" && Object.keys(words).length) redoable.push(words);
    toast("Taken back.");
  } catch (error) { told(error); }
  at("redo").disabled = !redoable.length;
}

async function doAgain() {
  const words = redoable.pop();
  if (!words) return;
  try { await post(`${api}/decide`, { words }); await load(); toast("Done again."); } catch (error) { told(error); }
  at("redo").disabled = !redoable.length;
}

function undoable(what) {
  at("undo").disabled = !what;
  at("undo").title = what ? `Take back ${what}` : "";
  at("redo").disabled = !redoable.length;
}

// --- what a person does

function pressed(event) {
  if (event.target.matches("input:not([type=range]), select") || event.altKey) return;
  const letter = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && letter === "a") { for (const item of grid.items) grid.chosen.add(item.name); grid.repaint(); tell(); }
  else if ((event.ctrlKey || event.metaKey) && letter === "z") (event.shiftKey ? redo : undo)();
  else if (event.ctrlKey || event.metaKey) return;
  else if (letter === "k") decide("kept");
  else if (letter === "r") decide("rejected");
  else if (letter === "a") { decide("automatic"); send().then(load); }
  else if (letter === "u") (event.shiftKey ? redo : undo)();
  else if (event.key === " " && event.target.tagName !== "BUTTON") zoom.open ? zoom.close() : open();
  else if (event.key === "Enter" && event.target === at("grid")) open();
  else if (event.key === "Escape" && grid.chosen.size) { grid.chosen.clear(); grid.repaint(); tell(); }
  else if (/^[0-5]$/.test(event.key)) { at("group").value = wanted.group = event.key === "0" ? "" : String(Number(event.key) - 1); refresh(); }
  else if (event.target.type === "range" || !grid.key(event)) return;
  event.preventDefault();
}
document.addEventListener("keydown", pressed);

for (const chip of document.querySelectorAll(".chips [data-state]")) chip.addEventListener("click", () => { wanted.state = chip.dataset.state; refresh(); });
for (const id of ["reason", "group", "order"]) at(id).addEventListener("change", (event) => { wanted[id] = event.target.value; refresh(); at("grid").focus(); });
at("find").addEventListener("input", (event) => { wanted.find = event.target.value; refresh(); });
at("size").addEventListener("input", (event) => grid.resize(Number(event.target.value)));
at("undo").addEventListener("click", undo);
at("redo").addEventListener("click", redo);
addEventListener("pagehide", send);

async function load() {
  const answer = await get(`${api}/pictures`);
  all = answer.pictures;
  at("uncurated").hidden = answer.curated;
  at("command").textContent = answer.command;
  undoable(answer.undo);
  const groups = [...new Set(all.map((item) => item.cluster).filter((each) => each !== undefined))].sort((one, other) => one - other);
  at("group").replaceChildren(new Option("any", ""), ...groups.map((each) => new Option(each + 1, each)));
  at("group").value = wanted.group;
  for (const option of at("order").options) if (option.value === "similarity") option.disabled = !answer.has_identity;
  refresh();
}

load().then(() => at("grid").focus({ preventScroll: true }), told);
