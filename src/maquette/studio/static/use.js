import { get, post, told } from "./talk.js";

const root = document.querySelector(".use");
const at = (id) => document.getElementById(id);
const REFRESH_MS = 400;
const made = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });
const size = (bytes) => bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1024))} kB`;

at("run")?.addEventListener("change", () => at("run").form.submit());
addEventListener("pageshow", () => at("run")?.form.reset());  // who comes back sees the run that the page shows

// --- pictures: large ones of a few pixels are shown pixel by pixel

for (const image of document.querySelectorAll(".picture img")) {
  const look = () => image.classList.toggle("tiny", image.naturalWidth > 0 && image.naturalWidth <= 160);
  image.addEventListener("load", look);
  look();
  const button = image.parentElement;
  button.addEventListener("click", () => {
    at("large").onload = () => at("large").classList.toggle("tiny", at("large").naturalWidth <= 160);
    at("large").src = button.dataset.large;
    at("large").alt = at("large-told").textContent = image.alt;
    at("zoom").showModal();
  });
}
at("zoom").addEventListener("click", () => at("zoom").close());

const score = document.querySelector(".score");
if (score) {
  const { mean, low, high } = score.dataset;
  const place = (value) => `${100 * Math.min(1, Math.max(0, Number(value)))}%`;
  const [range, point] = score.querySelector(".scale").children;
  range.style.left = place(low);
  range.style.right = `calc(100% - ${place(high)})`;
  point.style.left = place(mean);
}

// --- the prompt, its slots filled

const template = at("prompt") ? JSON.parse(at("prompt").dataset.template) : null;
let program = "comfyui";

function prompt() {
  const typed = Object.fromEntries([...document.querySelectorAll("#slots input")].map((input) => [input.dataset.slot, input.value.trim()]));
  const text = template[program].map((part) => part.slot ? typed[part.slot] ?? "" : part.text).join("");
  const words = text.split(",").map((part) => part.trim()).filter(Boolean).join(", ");
  const { before, name, after } = template.lora;
  return program === "webui" ? `${words} ${before}${at("name").value.trim().split("/").pop() || name}${after}` : words;
}

function showPrompt() { at("template").textContent = prompt(); }

if (template) {
  const slots = [...new Set(template.comfyui.filter((part) => part.slot).map((part) => part.slot))];
  at("slots").append(...slots.map((slot) => {
    const label = made("label", "", "field");
    const input = Object.assign(document.createElement("input"), { placeholder: "left out", autocomplete: "off" });
    input.dataset.slot = slot;
    input.addEventListener("input", showPrompt);
    label.append(made("span", slot), input);
    return label;
  }));
  for (const chip of document.querySelectorAll("[data-for]")) chip.addEventListener("click", () => {
    program = chip.dataset.for;
    for (const each of document.querySelectorAll("[data-for]")) each.setAttribute("aria-pressed", each === chip);
    showPrompt();
  });
  showPrompt();
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // a page over plain http from another computer has no clipboard
    const box = Object.assign(document.createElement("textarea"), { value: text, className: "off" });
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    button.focus();
  }
  say("Copied.");
}

function say(text) {
  const box = made("div", text, "toast");
  at("toasts").append(box);
  setTimeout(() => box.remove(), 2500);
}

const texts = { template: () => prompt(), negative: () => at("negative").textContent, sha: () => at("done").dataset.sha };
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(texts[button.dataset.copy](), button));

// --- into the drawing program: what would be written is shown before the button does anything

const api = `/api/p/${root.dataset.project}`;
const one = `${api}/use/${encodeURIComponent(root.dataset.run || "")}`;
const HOW = { new: "new", again: "written anew", same: "there already", kept: "yours, stays" };
let place = null, plan = null, asked = 0, timer = 0;

function placeLine(each) {
  const label = made("label", "", "place");
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "place" });
  radio.addEventListener("change", () => { at("typed").hidden = true; choose(each); });
  const words = made("span");
  words.append(made("b", each.title), each.used ? made("small", "used before", "soft") : "", made("code", each.folder));
  label.append(radio, words);
  return label;
}

async function places() {
  try {
    const found = (await get(`${api}/use-places`)).places;
    at("looking").textContent = found.length ? "" : "No ComfyUI, A1111 or Forge was found in the usual places. Type its folder, or take the files along below.";
    at("looking").hidden = found.length > 0;
    at("other").before(...found.map(placeLine));
  } catch (error) { told(error); }
}

const other = at("other")?.querySelector("input");

function typeOne() { at("typed").hidden = false; forget("Look at the folder first"); at("folder").focus(); }

other?.addEventListener("change", typeOne);
if (other?.checked) typeOne();  // chosen before this script was there, or kept by the browser from an earlier visit
at("folder")?.addEventListener("input", () => forget("Look at the folder first"));
at("folder")?.addEventListener("keydown", (event) => { if (event.key === "Enter") at("look").click(); });
at("program")?.addEventListener("change", () => forget("Look at the folder first"));
at("look")?.addEventListener("click", async () => {
  at("install-problem").textContent = "";
  try {
    const found = await post(`${api}/use-place`, { folder: at("folder").value, program: at("program").value });
    at("folder").value = found.folder;
    choose(found);
  } catch (error) { forget("Look at the folder first"); at("install-problem").textContent = error.message; }
});
at("name")?.addEventListener("input", () => {
  if (template) showPrompt();
  for (const link of document.querySelectorAll(".downloads a")) link.search = at("name").value.trim() ? `?name=${encodeURIComponent(at("name").value.trim())}` : "";
  if (!place) return;
  plan = null;
  at("go").disabled = true;
  clearTimeout(timer);
  timer = setTimeout(look, REFRESH_MS);
});

function forget(words) {
  asked += 1;
  place = plan = null;
  at("plan").hidden = at("done").hidden = true;
  at("install-problem").textContent = "";
  at("go").disabled = true;
  at("go").textContent = words;
}

function choose(each) {
  forget("Looking at what would be written…");
  place = each;
  look();
}

const meant = () => ({ program: place.program, folder: place.folder, name: at("name").value });

async function look() {
  const number = ++asked;
  try {
    const answer = await post(`${one}/plan`, meant());
    if (number === asked) show(answer);
  } catch (error) {
    if (number !== asked) return;
    at("plan").hidden = true;
    at("go").textContent = "It cannot go there as it is";
    at("install-problem").textContent = error.message;
  }
}

function fileLines(files, folder) {
  return files.map((each) => {
    const line = document.createElement("li");
    line.append(made("span", HOW[each.how], `how ${each.how}`), made("code", each.path.startsWith(`${folder}/`) ? each.path.slice(folder.length + 1) : each.path));
    return line;
  });
}

function show(answer) {
  plan = answer;
  at("done").hidden = true;
  at("plan").hidden = false;
  const written = answer.files.filter((each) => each.how === "new" || each.how === "again").length;
  const kept = answer.files.filter((each) => each.how === "kept").length;
  at("plan-told").replaceChildren(
    made("span", `${written} file${written === 1 ? "" : "s"} into `), made("code", answer.root),
    made("span", `${kept ? `; ${kept} of yours stay${kept === 1 ? "s" : ""} as ${kept === 1 ? "it is" : "they are"}` : ""}. Nothing else there is changed. The program lists it as `), made("code", answer.lora_name), made("span", "."));
  at("plan-files").querySelector("ul").replaceChildren(...fileLines(answer.files, answer.root));
  at("plan-notes").replaceChildren(...answer.notes.map((note) => made("li", note)));
  at("install-problem").replaceChildren();
  if (answer.taken) {
    const free = answer.lora_name.replace(/\.safetensors$/, "");
    const take = Object.assign(made("button", `Call it ${free}`), { type: "button" });
    take.addEventListener("click", () => { at("name").value = free; at("name").dispatchEvent(new Event("input")); at("name").focus(); });
    at("install-problem").append(made("span", `Another LoRA has this name: ${answer.taken}. It stays as it is. `), take);
  }
  at("go").disabled = Boolean(answer.taken);
  at("go").textContent = answer.taken ? "Choose another name" : answer.already_installed ? `Write its files again in ${place.title}` : `Install into ${place.title}: ${written} files, ${size(Number(root.dataset.bytes))}`;
}

at("go")?.addEventListener("click", async () => {
  if (!plan) return;
  at("go").disabled = true;
  at("go").textContent = "Installing…";
  try {
    const answer = await post(`${one}/install`, { ...meant(), seal: plan.seal });
    at("plan").hidden = true;
    at("done").hidden = false;
    at("done").dataset.sha = answer.sha256;
    const rows = [["LoRA", answer.lora], ["SHA-256", answer.sha256], ["Workflow", answer.editor_workflow], ["API format", answer.workflow], ["Prompts", answer.prompts], ["Model card", answer.card]];
    at("done").querySelector("dl").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => { const cell = document.createElement("dd"); cell.append(made("code", value)); return [made("dt", name), cell]; }), ...answer.notes.flatMap((note) => [made("dt", "Note"), made("dd", note)]));
    at("go").textContent = "Installed";
    at("done").querySelector("h3").focus();
  } catch (error) { at("install-problem").textContent = error.message; look(); }
});

if (at("install")) places();
