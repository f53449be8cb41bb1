// The Check page: findings by severity and rule, each with its page, its pictures and its repair.

import { changed, get, made, pathOf, post, saying, toast, told, withCode } from "./talk.js";

const root = document.querySelector(".check");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const KINDS = { error: ["error", "errors"], warning: ["warning", "warnings"], hint: ["hint", "hints"] };
const PAGES = { CAP: ["captions", "To the captions"], PIC: ["pictures", "To the pictures"] };
const LOOK_MS = 300, FIRST_SHOWN = 4;
let state = null, wasRunning = false, kind = "", meant = [], timer = 0;
const opened = new Set(), whole = new Set();

const counted = (number, [one, many]) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function button(text, className, act) {
  const found = made("button", className, text, { type: "button" });
  found.addEventListener("click", act);
  return found;
}

// --- the whole

async function load() {
  try {
    state = await get(`${api}/check`);
    paint();
    if (wasRunning && !state.running) changed();
    wasRunning = state.running;
    if (state.running) later();
    else if (!state.problems.length && (!state.result || !state.result.is_fresh)) await again();
  } catch (error) { if (state) told(error); else at("verdict").textContent = saying(error); }
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(load, LOOK_MS);
}

async function again() {
  at("again").disabled = true;
  try {
    const running = await post(`${api}/check`);
    state = { ...state, ...running };
    wasRunning = true;
    work();
    later();
  } catch (error) { at("again").disabled = false; told(error); }
}

function work() {
  at("work").hidden = !state.running;
  at("again").disabled = state.running;
  const share = state.total ? Math.round((100 * state.done) / state.total) : 0;
  at("done").style.width = `${share}%`;
  at("bar").setAttribute("aria-valuenow", share);
  at("beside").textContent = state.total ? `${state.done.toLocaleString("en")} of ${state.total.toLocaleString("en")} pictures measured` : "Reading settings, pictures and captions…";
}

function paint() {
  work();
  at("command").textContent = state.command;
  at("undo").hidden = !state.undo;
  at("undo").textContent = `Undo ${state.undo}`;
  at("problems").replaceChildren(...state.problems.map((each) => made("li", "", [each.where, each.given, each.remedy].filter(Boolean).join(": "))));
  const result = state.result;
  if (!result) {
    if (state.running && !at("groups").childElementCount) at("verdict").textContent = "Looking…";
    if (!state.running) at("verdict").textContent = state.problems.length ? "It could not be checked." : "Not checked yet.";
    return;
  }
  at("stale").hidden = result.is_fresh;
  at("again").textContent = `Check ${counted(result.pictures, ["picture", "pictures"])} again, ${state.price}`;
  const counts = [["error", result.errors], ["warning", result.warnings], ["hint", result.hints]].filter(([, number]) => number);
  at("verdict").textContent = verdict(result, counts);
  at("looked").textContent = `${counted(result.rules_run, ["rule", "rules"])} asked of ${result.looked_at.join("; ") || "nothing that could be read"}, ${ago(result.at)}.`;
  at("clean").hidden = result.groups.length > 0;
  at("again").classList.toggle("main", result.groups.length > 0);
  const over = result.looked_at.join("; ");
  at("clean-text").textContent = `${over.slice(0, 1).toUpperCase()}${over.slice(1)}: ${counted(result.rules_run, ["rule", "rules"])} asked, and none objects.`;
  at("looked").hidden = !result.groups.length;
  at("kinds").hidden = counts.length < 2;
  if (kind && !counts.some(([name]) => name === kind)) kind = "";
  at("kinds").replaceChildren(...[["", result.errors + result.warnings + result.hints], ...counts].map(([name, number]) => {
    const chip = button(name ? KINDS[name][1] : "all", "", () => { kind = name; paint(); });
    chip.append(" ", made("b", "", number));
    chip.setAttribute("aria-pressed", kind === name);
    return chip;
  }));
  at("groups").replaceChildren(...result.groups.filter((each) => !kind || each.severity === kind).map(group));
  at("notes").replaceChildren(...result.notes.map((text) => made("li", "", text)));
  at("silenced-part").hidden = !state.silenced.length;
  at("silenced").replaceChildren(...state.silenced.map(silencedLine));
}

function verdict(result, counts) {
  if (!counts.length) return "Nothing stands in the way.";
  const words = counts.map(([name, number]) => counted(number, KINDS[name])).join(", ");
  const repairs = result.groups.reduce((sum, each) => sum + each.findings.filter((one) => one.fix).length, 0);
  const after = repairs ? ` ${repairs === 1 ? "One can" : `${repairs} can`} be repaired here.` : "";
  return `${words[0].toUpperCase()}${words.slice(1)}.${result.errors ? "" : " Nothing keeps it from training."}${after}`;
}

function ago(at_s) {
  const minutes = Math.round((Date.now() / 1000 - at_s) / 60);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return new Date(at_s * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}

// --- a rule and its findings

function group(each) {
  const rule = state.result.rules[each.code];
  const place = made("section", `panel finding ${each.severity}`);
  const id = `rule-${each.severity}-${each.code}`;
  place.setAttribute("aria-labelledby", id);
  const head = made("header", "line");
  const title = made("div", "grow");
  const line = made("p", "mark-line");
  line.append(made("span", `severity ${each.severity}`, each.severity), made("span", "soft", `${rule.group} · ${rule.name} `), made("code", "", each.code));
  title.append(made("h2", "", rule.summary, { id }), line);
  head.append(title);
  const keys = each.findings.filter((one) => one.fix).map((one) => one.key);
  if (keys.length > 1) head.append(button(`Repair all ${keys.length}`, "", () => preview(keys)));
  place.append(head);
  const list = made("ul", "found");
  const shown = whole.has(id) ? each.findings : each.findings.slice(0, FIRST_SHOWN);
  list.append(...shown.map((finding) => one(finding, each.code)));
  place.append(list);
  if (shown.length < each.findings.length) place.append(button(`Show all ${each.findings.length}`, "quiet", () => { whole.add(id); paint(); }));
  place.append(pageOf(rule, id, each));
  return place;
}

function one(finding, code) {
  const line = made("li", "");
  if (finding.pictures.length) {
    const strip = made("div", "strip");
    for (const name of finding.pictures) {
      const small = made("img", "", "", { src: `${api}/thumbnail/192/${pathOf(name)}`, alt: "", loading: "lazy", decoding: "async" });
      small.addEventListener("load", () => small.classList.toggle("tiny", small.naturalWidth <= 96));
      const open = made("button", "", "", { type: "button", title: name });
      open.setAttribute("aria-label", `Look at ${name}`);
      open.append(small);
      open.addEventListener("click", () => zoom(name));
      strip.append(open);
    }
    if (finding.more) strip.append(made("span", "soft", `and ${finding.more} more`));
    line.append(strip);
  }
  const words = made("div", "words");
  words.append(made("p", "where", finding.where), withCode(made("p"), finding.message), withCode(made("p", "remedy"), finding.remedy));
  const page = PAGES[code.slice(0, 3)];
  if (page && finding.pictures.length) words.append(made("a", "", page[1], { href: `/p/${root.dataset.project}/${page[0]}` }));
  if (finding.setting) words.append(made("a", "", "Change it on the page of the plan", { href: `/p/${root.dataset.project}/plan#setting-${finding.setting}` }));
  if (finding.fix) words.append(button(`Repair: ${finding.fix}`, "", () => preview([finding.key])));
  line.append(words);
  return line;
}

function pageOf(rule, id, each) {
  const page = made("details", "why");
  page.open = opened.has(id);
  page.addEventListener("toggle", () => { if (page.open) opened.add(id); else opened.delete(id); });
  page.append(made("summary", "", "Why it matters"));
  const parts = made("dl", "");
  for (const part of rule.parts) parts.append(made("dt", "", part.title), withCode(made("dd"), part.text));
  page.append(parts);
  if (rule.repair) page.append(withCode(made("p", "soft"), `${rule.repair}.`));
  page.append(button(`Do not report ${each.code} in this project`, "quiet", () => silence(each.code, false)));
  return page;
}

function silencedLine(each) {
  const line = made("li", "");
  line.append(made("code", "", each.code), ` ${each.name} `, button("Hear it again", "quiet", () => silence(each.code, true)));
  return line;
}

async function silence(code, hear) {
  try {
    await post(`${api}/silence`, { code, hear });
    toast(hear ? `${code} is heard again.` : `${code} is not reported any more: ignore_rules in maquette.toml. It stands at the end of this page.`);
    await load();
  } catch (error) { told(error); }
}

function zoom(name) {
  at("large").src = `${api}/thumbnail/1024/${pathOf(name)}`;
  at("large").alt = name;
  at("large").onload = () => at("large").classList.toggle("tiny", at("large").naturalWidth <= 160);
  at("name").textContent = name;
  at("zoom").showModal();
}
at("zoom").addEventListener("click", () => at("zoom").close());

// --- repairs

async function preview(keys) {
  meant = keys;
  at("edits").replaceChildren();
  at("preview-told").textContent = "Looking at what it would change…";
  at("do").disabled = true;
  at("preview").showModal();
  try {
    const answer = await post(`${api}/preview-repair`, { keys });
    if (meant !== keys) return;
    const parts = [`${answer.summaries.join("; ") || "Nothing to repair any more"}.`, answer.files ? `${counted(answer.files, ["file changes", "files change"])}; one undo takes it back to the last byte.` : "", answer.decides ? "It decides something for you: look at it afterwards." : ""];
    at("preview-told").textContent = parts.filter(Boolean).join(" ");
    at("edits").replaceChildren(...answer.edits.map(edit));
    if (answer.more) at("edits").append(made("li", "soft", `and ${answer.more} more`));
    at("do").disabled = !answer.files;
    at("do").focus();
  } catch (error) {
    if (meant === keys) at("preview").close();
    told(error);
  }
}

function edit(each) {
  const line = made("li", "");
  line.append(made("b", "", each.name), " ");
  if (each.kind === "aside") line.append("is taken out of the pictures; undo puts it back");
  if (each.kind === "unable") line.append(made("span", "bad", `cannot be repaired: ${each.why}`));
  if (each.kind === "text") {
    const text = made("p", "pieces");
    for (const [kind, piece] of each.pieces) text.append(kind === "same" ? piece : made(kind === "gone" ? "del" : "ins", "", piece));
    line.append(text);
  }
  if (each.kind === "picture") {
    const pair = made("div", "pair");
    for (const [src, label] of [[each.before, "now"], [each.after, "after"]]) {
      if (!src) continue;
      const figure = made("figure", "");
      figure.append(made("img", "", "", { src, alt: `${each.name}, ${label}` }), made("figcaption", "soft", label));
      pair.append(figure);
    }
    line.append(pair);
  }
  return line;
}

at("do").addEventListener("click", async () => {
  at("do").disabled = true;
  at("preview-told").textContent = "Repairing…";
  try {
    const answer = await post(`${api}/repair`, { keys: meant });
    toast(`${counted(answer.files, ["file", "files"])} repaired.`);
    for (const trouble of answer.troubles) toast(trouble, "bad");
  } catch (error) { told(error); }
  at("preview").close();
  await load();
});
at("leave").addEventListener("click", () => at("preview").close());
at("undo").addEventListener("click", async () => {
  at("undo").disabled = true;
  try {
    const answer = await post(`${api}/undo-repair`);
    toast(`Taken back: ${answer.told}.`);
    await load();
  } catch (error) { told(error); }
  at("undo").disabled = false;
});
at("again").addEventListener("click", again);

load();
