import { Captioning } from "./captioning.js";
import { Grid, pictureTile } from "./grid.js";
import { get, pathOf, post, saying, toast, told } from "./talk.js";

const root = document.querySelector(".captions");
const api = `/api/p/${root.dataset.project}`;
const limit = Number(root.dataset.limit);
const at = (id) => document.getElementById(id);
const LOOK_MS = 350, MOST_SHOWN = 60, MOST_PARTS = 400;
let all = [], parts = [], wanted = { find: at("find").value, show: at("show").value }, started = "", looking = 0;

const grid = new Grid(at("grid"), at("sheet"), {
  label: 0,
  make(item) {
    const flag = Object.assign(document.createElement("i"), { className: "flag" });
    return pictureTile(`${api}/thumbnail/192/${pathOf(item.name)}`, "plain", flag);
  },
  paint(tile, item, isHere, isChosen) {
    tile.dataset.marked = Boolean(item.marks.length || item.problem || item.tokens > limit || !item.text);
    tile.classList.toggle("here", isHere);
    tile.setAttribute("aria-selected", isHere || isChosen);
    tile.setAttribute("aria-label", [item.name, item.text || "no caption", ...item.marks.map((each) => each.text)].join(", "));
  },
  onMove() { show(); },
});
grid.side = 96;

// --- which pictures

const TESTS = { marked: (item) => item.marks.length || item.problem, long: (item) => item.tokens > limit, none: (item) => !item.text, you: (item) => item.by === "you", model: (item) => item.by === "model", template: (item) => item.by === "template" };
const WRITERS = { you: "Written by you", model: "Written by a model", template: "Written by a template", repair: "Put right by a repair", "": "Came with its picture" };

function refresh(keep = grid.current?.name) {
  const words = wanted.find.toLowerCase();
  const test = TESTS[wanted.show] || (() => true);
  grid.show(all.filter((item) => test(item) && (!words || item.text.toLowerCase().includes(words) || item.name.toLowerCase().includes(words))), keep);
  show();
}

function scope() {
  const chosen = grid.chosen.size;
  const meant = chosen ? grid.meant : grid.items;
  at("scope").textContent = chosen ? `in the ${chosen} chosen` : grid.items.length === all.length ? `in all ${all.length}` : `in the ${grid.items.length} shown`;
  return meant;
}

// --- one caption

const isDirty = () => grid.current && at("text").value !== started;

async function show() {
  const item = grid.current;
  scope();
  at("told").textContent = item ? `${grid.here + 1} of ${grid.items.length}` : "nothing to show";
  if (showing && showing !== item?.name && at("text").value !== started) {
    await save(showing);
    if (grid.current !== item) return;  // one has gone on meanwhile: what is shown is another's
  }
  if (!item) { showing = ""; at("write").hidden = at("large").hidden = true; return; }
  at("write").hidden = at("large").hidden = false;
  if (showing !== item.name) {
    showing = item.name;
    at("large").src = `${api}/thumbnail/1024/${pathOf(item.name)}`;
    at("large").alt = item.name;
    at("large").onload = () => at("large").classList.toggle("tiny", at("large").naturalWidth <= 160);
    at("saved").textContent = "";
  }
  at("name").textContent = item.name;
  at("by").hidden = !item.text;
  at("by").textContent = WRITERS[item.by] + (item.by_what && item.by !== "you" ? `: ${item.by_what}` : "");
  at("text").value = started = item.text;
  at("text").disabled = Boolean(item.problem);
  look(item);
}
let showing = "";

function look(item) {
  const text = at("text").value;
  const over = item.tokens > limit;
  at("tokens").textContent = item.problem || `${item.tokens} of ${limit} tokens${over ? ": what comes after is cut off, unless max_token_length is longer" : ""}`;
  at("tokens").classList.toggle("bad", over || Boolean(item.problem));
  const pieces = [];
  let end = 0;
  for (const mark of item.marks) {
    if (mark.start < end || mark.end <= mark.start) continue;
    pieces.push(text.slice(end, mark.start), Object.assign(document.createElement("mark"), { textContent: text.slice(mark.start, mark.end), className: mark.kind }));
    end = mark.end;
  }
  at("shown").replaceChildren(...pieces, text.slice(end) + "\n");
  at("marks").replaceChildren(...item.marks.map((mark) => {
    const line = document.createElement("li");
    if (mark.end > mark.start) line.append(Object.assign(document.createElement("mark"), { textContent: text.slice(mark.start, mark.end), className: mark.kind }), " ");
    line.append(mark.text);
    return line;
  }));
}

at("text").addEventListener("input", () => {
  at("saved").textContent = isDirty() ? "not saved yet" : "";
  clearTimeout(looking);
  at("shown").textContent = at("text").value + "\n";
  const text = at("text").value;
  looking = setTimeout(() => post(`${api}/look-at-caption`, { text }).then((found) => { if (at("text").value === text) look(found); }, told), LOOK_MS);
});
at("text").addEventListener("scroll", () => { at("shown").scrollTop = at("text").scrollTop; });

async function save(name = grid.current?.name) {
  const item = all.find((each) => each.name === name), text = at("text").value;
  if (!item || text === started) return;
  const expected = started;
  started = text;
  try {
    const answer = await post(`${api}/caption`, { name, text: text.trim(), expected });
    if (answer.changed_since) {
      toast(`${answer.changed_since}. What you wrote is kept here: ${text}`, "bad");
      if (answer.picture) Object.assign(item, answer.picture);
    } else {
      Object.assign(item, answer.picture);
      undoable(answer.undo);
    }
    if (showing === name) {
      const isTypedOn = at("text").value !== text;
      started = item.text;
      if (!isTypedOn) at("text").value = item.text;
      at("saved").textContent = isTypedOn ? "not saved yet" : answer.changed_since ? "" : "saved";
      if (!isTypedOn) look(item);
    }
    grid.repaint();
    countParts();
  } catch (error) {
    told(error);
    if (grid.current?.name === name) started = expected;
    else toast(`${name} was not written. What you wrote is kept here: ${text}`, "bad");
  }
}

// --- many captions

let meant = null;  // what the preview shows, and what the button beside it does

const edit = (asked, preview) => post(`${api}/edit-captions`, { ...asked, preview });

async function preview() {
  const names = scope().map((item) => item.name), place = Number(at("place").value);
  const asked = { kind: at("kind").value, part: at("part").value, other: at("other").value, place, names };
  meant = asked;
  try {
    const answer = await edit(asked, true);
    if (meant === asked) shown(answer);
  } catch (error) { told(error); }
}

function unmeant() {
  meant = null;
  at("preview").hidden = true;
}

function shown(answer) {
  const refused = Object.entries(answer.refused);
  at("counted").textContent = `To ${answer.what}: ${answer.diff.length} caption${answer.diff.length === 1 ? "" : "s"} would change${refused.length ? `; ${refused.length} left alone (${refused[0][0]}: ${refused[0][1]})` : ""}.`;
  at("diff").replaceChildren(...answer.diff.slice(0, MOST_SHOWN).map((each) => {
    const line = document.createElement("li");
    line.append(Object.assign(document.createElement("b"), { textContent: each.path }), " ");
    for (const [kind, text] of each.pieces) line.append(kind === "same" ? text : Object.assign(document.createElement(kind === "gone" ? "del" : "ins"), { textContent: text }));
    return line;
  }));
  if (answer.diff.length > MOST_SHOWN) at("diff").append(Object.assign(document.createElement("li"), { textContent: `and ${answer.diff.length - MOST_SHOWN} more` }));
  at("do").disabled = !answer.diff.length;
  at("preview").hidden = false;
}

at("edit").addEventListener("submit", (event) => { event.preventDefault(); preview(); });
at("edit").addEventListener("input", unmeant);
at("do").addEventListener("click", async () => {
  try {
    await save();
    const answer = await edit(meant, false);
    unmeant();
    await load();
    toast(`${answer.diff.length} caption${answer.diff.length === 1 ? "" : "s"} changed.`);
  } catch (error) { told(error); }
});
at("leave").addEventListener("click", unmeant);

function fields() {
  at("other-field").hidden = at("kind").value !== "replace";
  at("other").required = at("kind").value === "replace";
  at("place-field").hidden = !["insert", "move"].includes(at("kind").value);
}
at("kind").addEventListener("change", fields);
fields();

function countParts() {
  const counts = new Map();
  for (const item of all) for (const part of new Set(item.text.split(",").map((each) => each.trim()).filter(Boolean))) counts.set(part, (counts.get(part) || 0) + 1);
  parts = [...counts].sort((one, other) => other[1] - one[1]);
  at("parts").replaceChildren(...parts.slice(0, MOST_PARTS).map(([part, count]) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(part, " ", Object.assign(document.createElement("b"), { textContent: count }));
    button.addEventListener("click", () => { at("part").value = part; at("find").value = wanted.find = part; refresh(); });
    const line = document.createElement("li");
    line.append(button);
    return line;
  }));
  at("known").replaceChildren(...parts.slice(0, MOST_PARTS).map(([part]) => new Option(part)));
}

// --- undo, keys, first load

function undoable(what) { at("undo").disabled = !what; at("undo").title = what ? `Take back: ${what}` : ""; }

async function takeBack() {
  try {
    const answer = await post(`${api}/undo-captions`);
    await load();
    toast(answer.what ? `Taken back: ${answer.what}${answer.kept?.length ? `; changed since and left alone: ${answer.kept.join(", ")}` : ""}` : "There is nothing to take back.");
  } catch (error) { told(error); }
}
at("undo").addEventListener("click", takeBack);
at("write").addEventListener("submit", (event) => { event.preventDefault(); save(); });
at("find").addEventListener("input", (event) => { wanted.find = event.target.value; refresh(); });
at("show").addEventListener("change", (event) => { wanted.show = event.target.value; refresh(); });
document.addEventListener("keydown", (event) => {
  const inText = event.target === at("text");
  if ((event.ctrlKey || event.metaKey) && event.key === "s") save();
  else if (inText && (event.ctrlKey || event.metaKey) && event.key === "Enter") save().then(() => grid.go(grid.here + 1));
  else if (inText && event.key === "Escape") at("grid").focus();
  else if (event.target.matches("input, select, textarea") || event.altKey) return;
  else if ((event.ctrlKey || event.metaKey) && event.key === "a") { for (const item of grid.items) grid.chosen.add(item.name); grid.repaint(); scope(); }
  else if (event.key === "Enter" && event.target === at("grid")) at("text").focus();
  else if (event.key.toLowerCase() === "u" && !event.ctrlKey && !event.metaKey) takeBack();
  else if (event.key === "Escape" && grid.chosen.size) { grid.chosen.clear(); grid.repaint(); scope(); }
  else if (!grid.key(event)) return;
  event.preventDefault();
});
addEventListener("beforeunload", (event) => { if (isDirty()) event.preventDefault(); });

async function load() {
  const answer = await get(`${api}/captions`);
  const keep = grid.current?.name;
  all = answer.pictures;
  undoable(answer.undo);
  countParts();
  refresh(keep);
}

new Captioning(api, () => { if (!isDirty()) load().catch(told); });
load().then(() => at("grid").focus({ preventScroll: true }), (error) => { at("told").textContent = saying(error); });
