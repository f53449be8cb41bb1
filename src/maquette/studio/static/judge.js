// The Judge page: a run's drawings by checkpoint, what they are worth, and what is chosen among them.

import { drawGrid, forgetGrid } from "./judge_grid.js";
import { drawNumbers, drawLoss, drawPairs } from "./judge_numbers.js";
import { openView } from "./judge_view.js";
import { openBallot } from "./judge_vote.js";
import { Stream } from "./streams.js";
import { get, post, saying, toast, told, worded } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const root = document.querySelector(".judge");
const project = root.dataset.project;
const at = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
const PRICE_MS = 350, FILL_MS = 1500;
let run = null, stream = null, listening = 0, pricing = 0, prices = 0, filling = 0, knownJobs = "";

const api = () => `/api/p/${project}/judge/${encodeURIComponent(run.name)}`;
const bytes = (number) => number >= 1e9 ? `${(number / 1e9).toFixed(1)} GB` : number >= 1e6 ? `${(number / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(number / 1e3))} KB`;
const time = (seconds) => seconds >= 5400 ? `${(seconds / 3600).toFixed(1)} h` : seconds >= 90 ? `${Math.round(seconds / 60)} min` : `${Math.max(1, Math.round(seconds))} s`;

// --- which run

async function runs() {
  const answer = await get(`/api/p/${project}/judge`);
  const usable = answer.runs.filter((each) => each.checkpoints || each.judged);
  at("wait").hidden = true;
  at("nothing").hidden = usable.length > 0;
  at("all").hidden = !usable.length;
  const asked = new URLSearchParams(location.search).get("run");
  const before = run?.name ?? (usable.some((each) => each.name === asked) ? asked : usable[0]?.name);
  at("run").replaceChildren(...usable.map((each) => new Option(`${each.name}${each.chosen ? ` · ${each.chosen}` : each.judged ? " · drawn" : " · not judged yet"}`, each.name, false, each.name === before)));
  if (!run && before) await show(before);
}

async function show(name) {
  stream?.close();
  stream = null;
  listening = 0;
  prices += 1;
  run = { name };
  forgetGrid();
  history.replaceState(null, "", `?run=${encodeURIComponent(name)}`);
  for (const id of ["suite", "seeds", "strengths"]) at(id).value = "";
  at("kind").value = "select";
  await load();
  price();
}
at("run").addEventListener("change", () => show(at("run").value).catch(told));

async function load() {
  const name = run.name, answer = await get(api());
  if (run.name !== name) return;
  run = answer;
  const chosen = run.choice?.label ?? null;
  at("pictures").hidden = !run.drawings;
  at("all").classList.toggle("is-new", !run.drawings);
  if (run.drawings) drawGrid(run, api(), (row, column, mode) => openView(run, api(), row, column, mode));
  at("numbers").hidden = !run.numbers;
  if (run.numbers) drawNumbers(run.numbers, chosen);
  drawLoss(run);
  drawPairs(run, api());
  choice();
  work();
  at("report").hidden = !run.report;
  at("report").textContent = run.report ? `The same on one page to keep or send: runs/${run.name}/report.html` : "";
}

// --- the choice

function choice() {
  const made = run.choice, measured = run.drawings?.is_measured;
  at("choice").hidden = !measured;
  if (!measured) return;
  for (const link of root.querySelectorAll(".onward")) link.search = new URLSearchParams({ run: run.name });
  at("chosen").replaceChildren(made ? made.label : "Not chosen yet", make("small", made ? [`at strength ${made.strength}`, { measures: "by the measures", votes: "by votes", person: "by you", "early stop": "where training stopped", nobody: "nobody can tell yet" }[made.decided_by], made.score !== null ? `score ${made.score.toFixed(2)}${made.low !== null ? ` (95 % ${made.low.toFixed(2)}–${made.high.toFixed(2)})` : ""}` : ""].filter(Boolean).join(" · ") : "The drawings are there; choosing among them costs nothing."));
  at("old").hidden = Boolean(made) && !made.is_old;
  at("old").firstChild.textContent = made ? "Pictures were drawn since. " : "";
  at("again").textContent = made ? "Choose anew" : "Choose by the measures";
  at("headline").textContent = made?.headline ?? "";
  at("why").hidden = !made;
  at("reasons").replaceChildren(...(made?.reasons ?? []).map((text) => { const line = make("li"); line.append(...worded(text)); return line; }));
  at("suspicions").replaceChildren(...(made?.suspicions ?? []).map((each) => { const line = make("li", each.told), remedy = make("small"); remedy.append(...worded(each.remedy)); line.append(remedy); return line; }));
  const known = made?.ranking.length ? made.ranking : run.drawings.columns.filter((column) => column.file);
  const kept = at("other").value;
  at("other").replaceChildren(...known.map((each) => new Option(`${each.label}${typeof each.score === "number" ? ` · ${each.score.toFixed(2)}` : ""}${each.label === made?.label ? " · chosen" : ""}`, each.label, false, each.label === kept)));
  at("measures").hidden = made?.decided_by !== "person";
  at("settle").replaceChildren();
  if (made && !made.distinguishable && made.more) {
    const more = made.more;
    at("settle").append(`${more.pictures} more pictures would probably tell it from the runner-up. `);
    const button = make("button", "Draw them", { type: "button" });
    button.addEventListener("click", () => suggest(more));
    at("settle").append(button);
  }
  at("voted").textContent = run.votes.votes ? `${run.votes.votes} ${run.votes.votes === 1 ? "vote is" : "votes are"} kept.` : "";
  at("vote").disabled = run.drawings.columns.filter((column) => column.file).length < 2;
}

function suggest(more) {
  const seeds = new Set(run.drawings.rows.map((row) => row.seed)).size;
  at("more").open = true;
  at("kind").value = "evaluate";
  at("seeds").value = Math.min(64, seeds + more.seeds);
  if (more.prompts) at("suite").value = "profile";
  at("draw").scrollIntoView({ block: "nearest" });
  price();
}

async function decide(body) {
  try {
    await post(`${api()}/choose`, { checkpoint: "", strength: "", reason: "", ...body });
    await load();
    await runs();
    toast(`Chosen: ${run.choice.label}.`);
    at("otherwise").open = false;
    at("reason").value = at("strength").value = "";
  } catch (error) { told(error); }
}
at("overrule").addEventListener("submit", (event) => { event.preventDefault(); decide({ checkpoint: at("other").value, strength: at("strength").value, reason: at("reason").value }); });
at("measures").addEventListener("click", () => decide({}));
at("again").addEventListener("click", () => decide({}));
at("vote").addEventListener("click", () => openBallot(api(), { choose: () => decide({}), over: () => load().catch(told) }));

// --- drawing more: the price first

const wanted = () => ({ kind: at("kind").value, suite: at("suite").value, seeds: at("seeds").value, strengths: at("strengths").value.trim() });

function price() {
  prices += 1;  // an answer on its way is about something else
  clearTimeout(pricing);
  at("start").disabled = true;
  pricing = setTimeout(ask, PRICE_MS);
}

async function ask() {
  const mine = ++prices, query = new URLSearchParams(wanted());
  try {
    const cost = await get(`${api()}/price?${query}`);
    if (mine !== prices) return;
    at("price-problem").textContent = "";
    const rows = cost.missing
      ? [["pictures", `${cost.at_most ? "at most " : ""}${cost.missing}${cost.pictures > cost.missing ? `, ${cost.pictures - cost.missing} are there` : ""}`], ["time", cost.seconds === null ? `not known yet on ${cost.device}: its first pictures will tell` : `about ${time(cost.seconds)} on ${cost.device}`], ["disk", `about ${bytes(cost.disk_bytes)}`]]
      : [["pictures", `${cost.pictures}, all there: nothing is drawn`]];
    at("price").replaceChildren(...rows.flatMap(([term, value]) => [make("dt", term), make("dd", value)]));
    at("price-note").textContent = cost.note;
    at("start").textContent = !cost.missing ? (wanted().kind === "select" ? "Judge again" : "Measure again") : `${run.drawings ? "Draw more" : "Judge"}: ${cost.at_most ? "at most " : ""}${cost.missing} pictures`;
    at("start").className = cost.missing ? "main" : "plain";
    at("start").disabled = Boolean(run.job);
  } catch (error) {
    if (mine !== prices) return;
    at("price").replaceChildren();
    at("price-note").textContent = "";
    at("price-problem").textContent = error.message;
  }
}
for (const id of ["suite", "seeds", "strengths", "kind"]) at(id).addEventListener("input", price);

at("draw-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("start").disabled = true;
  try {
    const answer = await post(`${api()}/draw`, wanted());
    toast(`Job ${answer.job} is in the queue.`);
    await load();
  } catch (error) { told(error); at("start").disabled = false; }
});

function work() {
  const job = run.job;
  at("draw-heading").textContent = job ? "At work" : run.drawings?.is_measured ? "Draw more" : "Judge this run";
  at("draw-about").textContent = job ? "" : run.drawings?.is_measured ? "What is there is kept; only what is missing is drawn." : run.drawings?.is_coming ? `Drawing was cut short at ${run.drawings.there} of ${run.drawings.wanted} pictures. It goes on with what is missing.` : "Draws with every checkpoint and with the base alone, measures the drawings, and chooses.";
  at("draw-form").hidden = at("price").hidden = at("price-note").hidden = Boolean(job);
  at("working").hidden = !job;
  at("failed").textContent = !job && run.failed ? `The last try failed: ${run.failed.error}` : "";
  if (!job) return;
  progress(job);
  at("pause").hidden = !["running", "queued"].includes(job.state);
  at("resume").hidden = !["paused", "interrupted", "failed"].includes(job.state);
  if (listening !== job.id) listen(job);
}

function progress(job) {
  const share = job.total ? Math.min(100, 100 * job.done / job.total) : 0;
  at("done").style.width = `${share}%`;
  at("bar").setAttribute("aria-valuenow", Math.round(share));
  at("doing").textContent = job.state === "queued" ? "It waits in the queue." : job.state === "paused" ? "Paused." : [job.stage || "begins", job.total ? `${job.done} of ${job.total}` : "", job.said || ""].filter(Boolean).join(" · ");
}
for (const what of ["pause", "resume", "cancel"]) at(what).addEventListener("click", () => run?.job && post(`/api/jobs/${run.job.id}/${what}`).then(load).catch(told));

// --- live: the grid fills as pictures arrive

function listen(job) {
  stream?.close();
  listening = job.id;
  stream = new Stream(`/api/jobs/${job.id}/stream`);
  const name = run.name;
  stream.onmessage = (message) => { if (run.name === name && run.job) hear(JSON.parse(message.data)); };
  stream.addEventListener("end", () => { stream?.close(); stream = null; listening = 0; if (run.name === name) load().then(runs).then(price).catch(told); });
}

function hear(event) {
  if (event.event === "progress") {
    Object.assign(run.job, { state: "running", stage: event.stage, done: event.done, total: event.total });
    progress(run.job);
    fill();
  } else if (event.event === "message") {
    run.job.said = event.text;
    progress(run.job);
  } else if (event.event === "state") {
    run.job.state = event.state;
    progress(run.job);
  }
}

function fill() {
  if (filling) return;
  filling = setTimeout(() => { filling = 0; load().catch(() => {}); }, FILL_MS);
}

onQueue((jobs) => {
  const now = JSON.stringify(jobs.map((each) => [each.id, each.state]));
  if (now === knownJobs || !run) { knownJobs = now; return; }
  knownJobs = now;
  const own = jobs.some((each) => !isOver(each) && each.run?.split(/[\\/]/).pop() === run.name);
  if (own !== Boolean(run.job) || run.job) load().catch(told);
});

runs().catch((error) => { at("wait").textContent = saying(error); });
