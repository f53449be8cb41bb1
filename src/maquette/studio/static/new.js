// A new project: three decisions, what follows from them with its reasons, and `maquette init`.

import { get, post, toast, told } from "./talk.js";
import { collect, Uploading } from "./uploading.js";

const at = (id) => document.getElementById(id);
const make = (tag, more = {}, ...children) => { const made = Object.assign(document.createElement(tag), more); made.append(...children); return made; };
const WAIT_MS = 300, FEW = 6, PICTURE = /\.(png|jpe?g|webp|bmp)$/i;
const size = (bytes) => bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.ceil(bytes / 1e3)} KB`;
let files = null, images = "", base = null, changes = {}, uploading = null, typing = 0, asking = 0, ready = false;

// --- opening the section

export function begin() {
  at("new").hidden = false;
  at("begin").setAttribute("aria-expanded", "true");
  at("begin").hidden = true;
  findBases();
}
at("begin").addEventListener("click", () => { begin(); at("new").scrollIntoView({ block: "start" }); at("choose-folder").focus(); });

// --- pictures

async function brought(found, name) {
  if (!found.length) return toast("There is no file in it.", "bad");
  files = found;
  images = "";
  begin();
  const pictures = found.filter((each) => PICTURE.test(each.path));
  showPictures(`${pictures.length.toLocaleString()} picture${pictures.length === 1 ? "" : "s"}, ${size(pictures.reduce((sum, each) => sum + each.file.size, 0))}`, pictures.slice(0, FEW));
  await proposePlace(name);
}

function showPictures(text, some) {
  at("ask-pictures").hidden = true;
  at("got").hidden = at("start-over").hidden = false;
  at("said").textContent = text;
  at("few").replaceChildren(...some.map((each) => {
    const image = new Image();
    image.alt = "";
    image.src = URL.createObjectURL(each.file);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    image.addEventListener("error", () => image.remove());
    return image;
  }));
  changed();
}

async function proposePlace(name) {
  if (at("place").value) return;
  try { at("place").value = (await post("/api/new/place", { name: name || "project" })).folder; } catch (error) { told(error); }
  changed();
}

at("choose-folder").addEventListener("click", () => at("folder-input").click());
at("choose-files").addEventListener("click", () => at("files-input").click());
for (const id of ["folder-input", "files-input"]) at(id).addEventListener("change", (event) => {
  const found = [...event.target.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  event.target.value = "";
  brought(found, found[0]?.path.split("/").slice(0, -1)[0] || "").catch(told);
});
at("typed").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await post("/api/new/pictures", { path: at("images").value });
    files = null;
    images = answer.path;
    showPictures(`${answer.pictures.toLocaleString()} picture${answer.pictures === 1 ? "" : "s"} in ${answer.path}, ${answer.captions.toLocaleString()} with a caption. They stay where they are.`, []);
    await proposePlace(answer.name);
  } catch (error) { told(error); }
});

let over = 0;
const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
addEventListener("dragenter", (event) => { if (carriesFiles(event)) { over += 1; begin(); at("drop").classList.add("over"); } });
addEventListener("dragleave", () => { over = Math.max(0, over - 1); if (!over) at("drop").classList.remove("over"); });
addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  over = 0;
  at("drop").classList.remove("over");
  if (uploading) return toast("Pictures are coming already: start over first.", "bad");
  collect(event.dataTransfer).then(({ files: found, name }) => brought(found, name)).catch(told);
});

// --- the base

let looked = false;
async function findBases() {
  if (looked) return;
  looked = true;
  try {
    const answer = await get("/api/new/bases");
    at("looking").remove();
    if (!answer.bases.length) at("bases").append(make("p", { className: "soft", textContent: "None was found in the usual places." }));
    for (const each of answer.bases) offer(each);
  } catch (error) { told(error); looked = false; }
}

function offer(each, chosen = false) {
  const radio = make("input", { type: "radio", name: "base", value: each.base });
  const told = [each.title, `${each.resolution} px`, each.num_bytes ? size(each.num_bytes) : "not on this computer yet", each.where].filter(Boolean).join(" · ");
  const line = make("label", { className: "base" }, radio, make("span", {}, make("b", { textContent: each.name, title: each.base }), make("small", { textContent: told }), ...each.notes.map((note) => make("small", { className: "warn", textContent: note }))));
  radio.addEventListener("change", () => { base = each; changed(); });
  if (chosen) { at("bases").prepend(line); radio.checked = true; base = each; changed(); } else at("bases").append(line);
}

at("other-base").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/new/base", { base: at("base").value }).then((answer) => { offer(answer.base, true); at("base").value = ""; }, told);
});

// --- the trigger word

function triggerTyped() {
  clearTimeout(typing);
  changed();
  const trigger = at("trigger").value;
  typing = setTimeout(() => post("/api/new/trigger", { trigger }).then((answer) => {
    if (at("trigger").value !== trigger) return;
    at("of-trigger").replaceChildren(...answer.notes.map((note) => make("p", { className: note.severity === "error" ? "bad" : "warn" }, note.text, " ", make("span", { className: "soft", textContent: `${note.remedy} (${note.code})` }))));
    if (trigger.trim() && !answer.notes.length) at("of-trigger").replaceChildren(make("p", { className: "good", textContent: "The base does not know it: a good trigger." }));
  }, told), WAIT_MS);
}
at("trigger").addEventListener("input", triggerTyped);
at("place").addEventListener("input", () => changed());

// --- what is still missing, and the way on

function changed() {
  const missing = [files || images ? "" : "pictures", base ? "" : "a base", at("trigger").value.trim() ? "" : "a trigger word", at("place").value.trim() ? "" : "a folder"].filter(Boolean);
  at("next").disabled = missing.length > 0 || Boolean(uploading?.busy);
  at("still").textContent = missing.length ? `Still to decide: ${missing.join(", ")}.` : "";
  if (ready) { ready = false; at("proposals").hidden = true; }
}

const asked = () => ({ folder: at("place").value, upload: uploading?.key || "", images, base: base.base, trigger: at("trigger").value, changes });

at("go").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    at("next").disabled = true;
    if (files && !(await bring())) return;
    await propose();
    at("proposed").focus();
    at("proposals").scrollIntoView({ block: "nearest" });
  } catch (error) { told(error); } finally { changedButton(); }
});
const changedButton = () => { at("next").disabled = false; };

async function bring() {
  if (uploading?.done) return true;
  uploading = new Uploading(files, at("place").value, (part, text) => {
    at("coming").hidden = false;
    const bar = at("coming").querySelector(".progress");
    bar.firstElementChild.style.width = `${100 * part}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * part));
    at("pace").textContent = text;
  });
  at("place").readOnly = true;
  const outcome = await uploading.run();
  leftOut(outcome.leftOut, outcome.numLeftOut);
  at("said").textContent = outcome.said;
  return true;
}

function leftOut(names, count) {
  at("left").hidden = !count;
  at("left").querySelector("summary").textContent = `${count.toLocaleString()} left out`;
  at("left").querySelector("ul").replaceChildren(...names.map(([name, why]) => make("li", {}, make("code", { textContent: name }), ` ${why}`)), ...(count > names.length ? [make("li", { textContent: `and ${count - names.length} more` })] : []));
}

async function propose() {
  const mine = ++asking, answer = await post("/api/new/proposals", asked());
  if (mine !== asking) return;
  at("reasons").replaceChildren(...answer.proposals.flatMap(row));
  at("remarks").replaceChildren(...answer.notes.map((note) => make("li", { textContent: note })));
  at("proposals").hidden = false;
  ready = true;
}

function row(each) {
  const value = make("dd", { className: "value" });
  if (!each.can_change || (each.name === "kind" && !each.choices.length)) value.textContent = each.value || "none";
  else {
    const field = each.choices.length ? make("select", {}, ...each.choices.map((choice) => new Option(choice))) : make("input", { type: each.name === "class_word" ? "text" : "number", min: 1, placeholder: each.name === "class_word" ? "not said" : "" });
    field.value = each.value;
    field.setAttribute("aria-label", each.title);
    field.addEventListener("change", () => {
      const before = changes[each.name];
      if (field.value === "") delete changes[each.name];
      else changes[each.name] = field.type === "number" ? Number(field.value) : field.value;
      propose().catch((error) => { told(error); if (before === undefined) delete changes[each.name]; else changes[each.name] = before; field.value = each.value; });
    });
    value.append(field);
  }
  return [make("dt", { textContent: each.title }), value, make("dd", { className: "why", textContent: each.why })];
}

at("create").addEventListener("click", async () => {
  at("create").disabled = true;
  try {
    const answer = await post("/api/new/create", asked());
    uploading = null;
    location.assign(answer.url);
  } catch (error) { told(error); at("create").disabled = false; }
});

at("start-over").addEventListener("click", async () => {
  try { await uploading?.drop(); } catch (error) { told(error); }
  files = uploading = null;
  images = "";
  changes = {};
  at("ask-pictures").hidden = false;
  at("place").readOnly = false;
  at("place").value = "";
  at("got").hidden = at("left").hidden = at("coming").hidden = at("start-over").hidden = true;
  changed();
  at("choose-folder").focus();
});
addEventListener("beforeunload", (event) => { if (uploading?.busy) event.preventDefault(); });

if (!at("new").hidden) begin();
if (at("trigger").value) triggerTyped(); else changed();
