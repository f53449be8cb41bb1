import { Grid, pictureTile } from "./grid.js";
import { CropPreview } from "./crop.js";
import { Pairs, pairsOf } from "./pairs.js";
import { get, pathOf, post, saying, toast, told } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const root = document.querySelector(".pictures");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const zoom = at("zoom");
const STATES = { kept: "kept", rejected: "rejected", review: "to review", "": "not looked at" };
const WAIT_MS = 250;
let all = [], wanted = { state: "", reason: at("reason").value, group: "", find: at("find").value, order: at("order").value, measure: at("measure").value, low: "", high: "" };
let view = "grid", references = [], job = 0;
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
    && inRange(item)
    && (!part || item.name.toLowerCase().includes(part)));
  const by = { quality: (item) => -(item.quality ?? 0), similarity: (item) => item.similarity ?? 9, cluster: (item) => item.cluster ?? 1e9 }[wanted.order];
  return by ? [...found].sort((one, other) => by(one) - by(other)) : found;
}

const measureOf = (item, name) => item[name] ?? item.measures?.[name];

function inRange(item) {
  if (!wanted.measure || (wanted.low === "" && wanted.high === "")) return true;
  const value = measureOf(item, wanted.measure);
  return value !== undefined && (wanted.low === "" || value >= Number(wanted.low)) && (wanted.high === "" || value <= Number(wanted.high));
}

// What the fields of a range begin with: the least and the greatest there is.
function offerRange() {
  const values = all.map((item) => measureOf(item, wanted.measure)).filter((value) => value !== undefined);
  for (const [id, value] of [["low", Math.min(...values)], ["high", Math.max(...values)]]) {
    at(id).hidden = !wanted.measure;
    at(id).value = wanted[id] = "";
    at(id).placeholder = values.length ? Number(value.toPrecision(3)) : "none";
  }
}

// --- the other views: pairs side by side, references

const pairs = new Pairs(at("pairs"), { picture: (name) => thumbnail(name, 384), states: STATES, decide: (word, names) => decide(word, all.filter((item) => names.includes(item.name)), { quiet: true }) });

function look(at_) {
  view = at_;
  for (const [id, name] of [["grid", "grid"], ["pairs", "pairs"], ["references", "references"]]) at(id).hidden = view !== name;
  for (const chip of document.querySelectorAll("[data-view]")) chip.setAttribute("aria-pressed", chip.dataset.view === view);
  if (view === "pairs") pairs.show(pairsOf(all));
  if (view === "references") showReferences();
  if (view === "grid") grid.layOut();
  count();
}

function showReferences() {
  const made = (tag, more, ...children) => { const one = Object.assign(document.createElement(tag), more); one.append(...children); return one; };
  at("references").replaceChildren(
    made("p", { className: "soft", textContent: references.length ? "They show who the subject is, for curation and for judging, and are never trained on." : "None yet. Choose five or more good pictures from several sides in the grid and press F: they are moved out of training." }),
    ...references.map((name) => {
      const image = made("img", { alt: name, loading: "lazy", src: `${api}/reference/${pathOf(name)}` });
      const back = made("button", { type: "button", className: "quiet", textContent: "Back to training" });
      back.setAttribute("aria-label", `Back to training: ${name}`);
      back.addEventListener("click", () => move([name], true));
      return made("figure", {}, image, made("figcaption", {}, name, back));
    }));
}

async function move(names, back) {
  if (!names.length) return;
  try {
    await send();
    const answer = await post(`${api}/references/move`, { names, back });
    await load();
    toast(back ? "Back among the pictures." : `${names.length} moved to the references: ${answer.references.length} now. U takes it back.`);
  } catch (error) { told(error); }
}

function refresh(keep = grid.current?.name) { grid.show(filtered(), keep); count(); tell(); }

function count() {
  for (const place of document.querySelectorAll("[data-count]")) {
    const state = place.dataset.count;
    place.textContent = (state ? all.filter((item) => item.state === state) : all).length.toLocaleString();
  }
  for (const chip of document.querySelectorAll("[data-state][aria-pressed]")) chip.setAttribute("aria-pressed", view === "grid" && chip.dataset.state === wanted.state);
  at("num-pairs").textContent = pairsOf(all).length;
  at("num-references").textContent = references.length;
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
  crop.of(item.name);
  at("name").textContent = item.name;
  at("other-name").textContent = other || "";
  at("beside").hidden = !other;
  at("state").textContent = STATES[item.state] + (item.by === "you" ? ", decided by you" : "");
  at("reasons").replaceChildren(...(item.reasons || []).map((each) => Object.assign(document.createElement("li"), { textContent: each.text })));
}

const crop = new CropPreview({ image: at("large"), box: at("crop"), words: at("cropped"), button: at("as-trained"), ask: (name) => get(`${api}/crop/${pathOf(name)}`) });

function open() { if (grid.current && !zoom.open) { showLarge(); zoom.showModal(); zoom.focus(); } }
at("as-trained").addEventListener("click", () => zoom.focus());
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
  timer ||= setTimeout(send, WAIT_MS);  // of whoever goes on deciding without a pause as well
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
  timer = 0;
  if (waiting.size) sending = sending.then(deliver);
  return sending;
}

// What waits is taken when its turn has come: a page that is left before sends it itself.
async function deliver() {
  if (!waiting.size) return;
  try {
    const answer = await postWaiting();
    for (const item of all) if (item.name in answer.changed) item.state = answer.changed[item.name];
    undoable(answer.undo);
    grid.repaint();
    count();
  } catch (error) {
    told(error);
    await load().catch(told);
  }
}

function postWaiting() {
  const words = {};
  for (const [name, word] of waiting) (words[word] ||= []).push(name);
  waiting = new Map();
  return post(`${api}/decide`, { words }, { outlives: true });
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
  if (view !== "grid" && event.key.toLowerCase() !== "u") return;
  const letter = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && letter === "a") { for (const item of grid.items) grid.chosen.add(item.name); grid.repaint(); tell(); }
  else if ((event.ctrlKey || event.metaKey) && letter === "z") (event.shiftKey ? redo : undo)();
  else if (event.ctrlKey || event.metaKey) return;
  else if (letter === "k") decide("kept");
  else if (letter === "r") decide("rejected");
  else if (letter === "a") { decide("automatic"); send().then(load); }
  else if (letter === "f" && view === "grid") move(grid.meant.map((item) => item.name), false);
  else if (letter === "c" && zoom.open) crop.toggle();
  else if (letter === "u") (event.shiftKey ? redo : undo)();
  else if (event.key === " " && event.target.tagName !== "BUTTON") zoom.open ? zoom.close() : open();
  else if (event.key === "Enter" && event.target === at("grid")) open();
  else if (event.key === "Escape" && grid.chosen.size) { grid.chosen.clear(); grid.repaint(); tell(); }
  else if (/^[0-5]$/.test(event.key)) { at("group").value = wanted.group = event.key === "0" ? "" : String(Number(event.key) - 1); refresh(); }
  else if (event.target.type === "range" || !grid.key(event)) return;
  event.preventDefault();
}
document.addEventListener("keydown", pressed);

for (const chip of document.querySelectorAll(".chips [data-state]")) chip.addEventListener("click", () => { wanted.state = chip.dataset.state; look("grid"); refresh(); });
for (const chip of document.querySelectorAll("[data-view]")) chip.addEventListener("click", () => look(view === chip.dataset.view ? "grid" : chip.dataset.view));
at("measure").addEventListener("change", (event) => { wanted.measure = event.target.value; offerRange(); refresh(); });
for (const id of ["low", "high"]) at(id).addEventListener("input", (event) => { wanted[id] = event.target.value; refresh(); });
at("refer").addEventListener("click", () => move(grid.meant.map((item) => item.name), false));
at("look-again").addEventListener("click", () => { at("curating").hidden = false; price(); });
at("curate").addEventListener("click", async () => {
  at("curate").disabled = true;
  try { job = (await post(`${api}/curate`)).job; toast(`In the queue as job ${job}.`); } catch (error) { told(error); at("curate").disabled = false; }
});
onQueue((jobs) => {
  const mine = jobs.find((each) => each.id === job);
  if (!mine) return;
  const bar = at("curating").querySelector(".progress");
  bar.hidden = isOver(mine);
  bar.firstElementChild.style.width = `${100 * (mine.progress || 0)}%`;
  at("price").textContent = isOver(mine) ? "" : `${mine.stage || "waits"} ${mine.total ? `${mine.done} of ${mine.total}` : ""}`;
  if (!isOver(mine)) return;
  job = 0;
  at("curate").disabled = false;
  if (mine.state === "failed") toast(mine.error || "It failed.", "bad");
  else { at("curating").hidden = true; load().catch(told); }
});
for (const id of ["reason", "group", "order"]) at(id).addEventListener("change", (event) => { wanted[id] = event.target.value; refresh(); at("grid").focus(); });
at("find").addEventListener("input", (event) => { wanted.find = event.target.value; refresh(); });
const resized = () => grid.resize(Number(at("size").value));
at("size").addEventListener("input", resized);
resized();
at("undo").addEventListener("click", undo);
at("redo").addEventListener("click", redo);
addEventListener("pagehide", () => { if (waiting.size) postWaiting().catch(told); });

async function load() {
  const answer = await get(`${api}/pictures`);
  all = answer.pictures;
  at("wait").hidden = true;
  references = (await get(`${api}/references`)).references;
  const unseen = all.filter((item) => !item.state).length;
  at("unseen").textContent = !answer.curated ? "Nothing has looked at these pictures yet." : unseen ? `${unseen.toLocaleString()} of these pictures are new.` : "All of these pictures were looked at.";
  if (unseen && at("curating").hidden) { at("curating").hidden = false; price(); }
  at("command").textContent = answer.command;
  undoable(answer.undo);
  const groups = [...new Set(all.map((item) => item.cluster).filter((each) => each !== undefined))].sort((one, other) => one - other);
  at("group").replaceChildren(new Option("any", ""), ...groups.map((each) => new Option(each + 1, each)));
  at("group").value = wanted.group;
  for (const option of at("order").options) if (option.value === "similarity") option.disabled = !answer.has_identity;
  if (at("low").hidden !== !wanted.measure) offerRange();
  refresh();
  if (view !== "grid") look(view);
}

const price = () => get(`${api}/curate-price`).then((answer) => { if (!job) at("price").textContent = answer.said; }, told);

load().then(() => at("grid").focus({ preventScroll: true }), (error) => { at("wait").textContent = saying(error); });
