import { colour, drawn, smoothed, whenColoursChange } from "./curves.js";
import { bytes, element, time } from "./spoken.js";
import { get, pathOf, post, toast, told } from "./talk.js";
import { Stream } from "./streams.js";
import { onQueue } from "./top.js";

const root = document.querySelector(".train");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const REDRAW_MS = 400, LOOKS_EVERY_MS = 3000, SOON_MS = 1200, COLOURS = 6;
const AT_WORK = new Set(["queued", "running", "paused"]);
const NOT_OVER = new Set(["stopped", "interrupted", "failed"]);

let shown = "", run = null, job = null, stream = null, drawing = 0, pace = null;
const overlaid = new Map(); // name of a ticked run → what its curve is; null until it came
const runUrl = (name) => `${api}/run/${encodeURIComponent(name)}`;

// --- what the next run takes, before anything is spent

async function price() {
  try {
    const plan = await get(`${api}/plan`);
    at("sum").textContent = plan.sum;
    const room = plan.memory.available_bytes;
    const rows = [
      ["time", plan.seconds === null ? "not known for this device" : `about ${time(plan.seconds)}`],
      ["memory", room ? `${bytes(plan.memory_bytes)} of ${bytes(room)}` : bytes(plan.memory_bytes)],
      ["disk", bytes(plan.disk_bytes)],
      ["checkpoints", String(plan.checkpoints.length)],
    ];
    at("price").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));
    const changes = plan.memory.fits ? [] : plan.changes.map((each) => each.text || each.what || JSON.stringify(each));
    at("problems").replaceChildren(...changes.map((text) => element("li", { textContent: `To fit: ${text}` })));
    at("start").textContent = plan.seconds === null ? `Train ${plan.steps} steps` : `Train ${plan.steps} steps, about ${time(plan.seconds)}`;
    at("start").disabled = false;
  } catch (error) {
    at("sum").textContent = "It cannot start as it is:";
    at("problems").replaceChildren(element("li", { textContent: error.message }));
  }
}

at("start").addEventListener("click", async () => {
  at("start").disabled = true;
  try {
    const answer = await post(`${api}/train`);
    toast(`Job ${answer.job} is in the queue.`);
    await list();
  } catch (error) { told(error); }
  at("start").disabled = false;
});

// --- the runs

async function list() {
  const answer = await get(`${api}/runs`);
  const names = new Set(answer.runs.map((each) => each.name));
  const waiting = answer.jobs.filter((each) => each.run && !names.has(each.run.split("/").pop()));
  at("no-run").hidden = answer.runs.length + waiting.length > 0;
  at("overlay-told").hidden = answer.runs.length < 2;
  const focused = document.activeElement?.dataset?.entry;
  at("runs").replaceChildren(
    ...waiting.map((each) => entry(each.run.split("/").pop(), each.state, "", false)),
    ...answer.runs.map((each) => entry(each.name, each.state, about(each), each.state !== "unreadable" && answer.runs.length > 1)),
  );
  if (focused) document.querySelector(`[data-entry="${CSS.escape(focused)}"]`)?.focus();
  if (!shown && answer.runs.length) choose(answer.runs[0].name);
}

const about = (each) => each.state === "unreadable" ? each.problem : `${each.step} of ${each.steps} steps · rank ${each.rank}${each.loss ? ` · loss ${each.loss.toFixed(4)}` : ""}`;

function entry(name, state, words, canOverlay) {
  const button = element("button", { type: "button" },
    element("b", { textContent: name }), element("span", { className: `state ${state}`, textContent: state }),
    element("small", { className: "soft", textContent: words }));
  button.dataset.entry = `run ${name}`;
  button.setAttribute("aria-pressed", name === shown);
  button.addEventListener("click", () => choose(name));
  const line = element("li", {}, button);
  if (canOverlay) line.append(tick(name));
  return line;
}

function tick(name) {
  const box = element("input", { type: "checkbox", checked: overlaid.has(name) });
  box.setAttribute("aria-label", `Lay the curve of ${name} over the shown one`);
  box.dataset.entry = `tick ${name}`;
  box.addEventListener("change", () => box.checked ? overlay(name) : (overlaid.delete(name), marked(), draw()));
  return element("label", {}, box);
}

async function overlay(name) {
  overlaid.set(name, null);
  try {
    const answer = await get(runUrl(name));
    if (overlaid.has(name)) overlaid.set(name, answer);
  } catch (error) { overlaid.delete(name); told(error); }
  marked();
  draw();
}

const colourOf = (place) => colour(`--curve-${1 + place % COLOURS}`, root);

function marked() {
  const names = [...overlaid.keys()];
  for (const box of document.querySelectorAll(".runs input")) {
    const place = names.indexOf(box.dataset.entry.slice(5));
    box.checked = place >= 0;
    if (place >= 0) box.style.setProperty("--tick", `var(--curve-${1 + place % COLOURS})`);
  }
}

async function choose(name) {
  shown = name;
  run = job = pace = null;
  stream?.close();
  stream = null;
  at("log").replaceChildren();
  at("failure").hidden = true;
  at("beside").textContent = "";
  for (const button of document.querySelectorAll(".runs button")) button.setAttribute("aria-pressed", button.dataset.entry === `run ${name}`);
  await load(name);
}

// --- one run

async function load(name) {
  let answer;
  try { answer = await get(runUrl(name)); } catch (error) { if (shown === name && !at("run").hidden) told(error); return; }
  if (shown !== name) return;
  const before = run?.state;
  run = answer;
  job = answer.job;
  at("run").hidden = false;
  at("run-name").textContent = name;
  state(job && AT_WORK.has(job.state) ? job.state : run.state);
  bar(run.step, run.steps);
  facts();
  const stopped = run.state === "stopped" ? `stopped${run.problem ? ` (${run.problem})` : ""}; it goes on from its newest state` : "";
  if (!stream) at("beside").textContent = [stopped, ...run.notes].filter(Boolean).join(" · ");
  strips(name, run.samples);
  files(run.checkpoints);
  draw();
  if (run.state !== before) failure(name);
  if (job && AT_WORK.has(job.state) && !stream) listen(name);
}

function state(text) {
  at("run-state").textContent = text;
  at("run-state").className = `state ${text}`;
  const isTrained = run?.state === "running";
  const waits = job && ["paused", "interrupted", "failed"].includes(job.state);
  at("save").hidden = !isTrained;
  at("sample").hidden = !isTrained || !run.draws;
  at("pause").hidden = !job || !["running", "queued"].includes(job.state);
  at("resume").hidden = !waits && !(NOT_OVER.has(run?.state) && !(job && AT_WORK.has(job.state)));
  at("cancel").hidden = !job || !["running", "queued", "paused", "interrupted"].includes(job.state);
}

for (const what of ["pause", "cancel"]) {
  at(what).addEventListener("click", () => job && post(`/api/jobs/${job.id}/${what}`).then((answer) => { job = answer.job; state(job.state); }, told));
}

at("resume").addEventListener("click", async () => {
  try {
    const waits = job && ["paused", "interrupted", "failed"].includes(job.state);
    const answer = waits ? await post(`/api/jobs/${job.id}/resume`) : await post(`${runUrl(shown)}/resume`);
    toast(waits ? "It goes on when its turn comes." : `Job ${answer.job} goes on with it.`);
    run = null;
    await load(shown);
  } catch (error) { told(error); }
});

for (const [what, words] of [["save", "A checkpoint is saved after this step."], ["sample", "Its samples are drawn after this step."]]) {
  at(what).addEventListener("click", () => post(`${runUrl(shown)}/ask/${what}`).then(() => toast(words), told));
}

function bar(done, total) {
  const share = total ? 100 * done / total : 0;
  at("done").style.width = `${share}%`;
  at("bar").setAttribute("aria-valuenow", Math.round(share));
}

function facts(live = {}) {
  const last = run.curve.loss.length ? smoothed(run.curve.loss, smoothing()).at(-1) : null;
  const step = live.step || run.step;
  const perStep = live.perStep || run.seconds_per_step;
  const rows = [
    ["step", `${step} of ${run.steps}`],
    ["loss, smoothed", last === null ? "" : last.toFixed(4)],
    [run.validation?.measured_on === "held-out" ? "held-out" : "validation", run.validation ? run.validation.loss.at(-1).toFixed(4) : ""],
    ["a step", perStep ? `${perStep >= 10 ? perStep.toFixed(0) : perStep.toFixed(2)} s` : ""],
    ["memory", run.peak_memory_bytes ? bytes(run.peak_memory_bytes) : ""],
    ["time left", run.state === "running" && perStep ? time((run.steps - step) * perStep) : ""],
  ];
  at("facts").replaceChildren(...rows.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

async function failure(name) {
  const failed = ["failed", "interrupted", "unreadable"].includes(run.state);
  at("failure").hidden = !failed;
  if (!failed) return;
  at("run-problem").textContent = run.problem || "Its process is gone: killed, out of memory, or the machine was switched off. It goes on from its newest state.";
  at("findings").replaceChildren();
  try {
    const answer = await get(`${runUrl(name)}/findings`);
    if (shown === name) at("findings").replaceChildren(...answer.findings.map(finding));
  } catch (error) { told(error); }
}

const finding = (each) => element("li", {},
  element("p", {}, element("b", { textContent: each.name.replace(/\.$/, "") }), ` (${each.code}, ${each.severity})`),
  element("p", { textContent: each.message, className: "soft" }), element("p", { textContent: each.remedy }));

function files(checkpoints) {
  at("files-part").hidden = !checkpoints.length;
  at("files").replaceChildren(...checkpoints.map((each) => element("li", { textContent: each.path.split("/").pop() })));
}

// --- live

function listen(name) {
  stream = new Stream(`/api/jobs/${job.id}/stream`);
  stream.onmessage = (message) => { if (shown === name) hear(JSON.parse(message.data), name); };
  stream.addEventListener("end", () => { stream?.close(); stream = null; if (shown === name) load(name); list().catch(told); });
}

function hear(event, name) {
  if (event.event === "progress" && event.stage === "train") step(event);
  else if (event.event === "message" || event.event === "artifact") {
    at("log").append(element("li", { textContent: event.text || `${event.kind}: ${event.path}`, className: event.level || "" }));
    if (event.event === "artifact") soon(name);
  } else if (event.event === "state") {
    if (job) { job.state = event.state; state(event.state); }
  }
}

function step(event) {
  bar(event.done, event.total);
  const loss = event.values?.loss;
  if (run && typeof loss === "number" && !(event.done <= run.curve.step.at(-1))) {
    run.curve.step.push(event.done);
    run.curve.loss.push(loss);
    if (!drawing) drawing = setTimeout(() => { drawing = 0; draw(); }, REDRAW_MS);
  }
  if (!pace || event.done < pace.done) pace = { done: event.done, time: event.time };
  const perStep = event.done > pace.done ? (event.time - pace.time) / (event.done - pace.done) : null;
  if (run) facts({ step: event.done, perStep });
  at("beside").textContent = `step ${event.done} of ${event.total}`;
}

let soonTimer = 0;
function soon(name) { clearTimeout(soonTimer); soonTimer = setTimeout(() => { if (shown === name) load(name); }, SOON_MS); }

// --- the curves

const smoothing = () => Number(at("smooth").value) / 100;
at("smooth").addEventListener("input", () => { draw(); if (run) facts(); });

function linesOf(name, of, line, faint) {
  const own = { name, legendgroup: name, line: { color: line, width: 2.4 }, mode: "lines" };
  const lines = of.curve.step.length ? [{ ...own, x: of.curve.step, y: smoothed(of.curve.loss, smoothing()) }] : [];
  if (faint && lines.length) lines.unshift({ ...own, x: of.curve.step, y: of.curve.loss, name: "each step", line: { color: line, width: 1 }, opacity: 0.3, hoverinfo: "skip" });
  if (of.validation) {
    const what = of.validation.measured_on === "held-out" ? "held-out pictures" : "validation";
    lines.push({ ...own, x: of.validation.step, y: of.validation.loss, name: faint ? what : `${name}: ${what}`, mode: "lines+markers", line: { color: line, width: 2, dash: "dot" } });
  }
  return lines;
}

function draw() {
  drawn(at("plot"), () => {
    const lines = run ? linesOf(overlaid.size ? shown : "smoothed", run, colour("--accent"), true) : [];
    [...overlaid].forEach(([name, of], place) => { if (of && name !== shown) lines.push(...linesOf(name, of, colourOf(place), false)); });
    return { lines, layout: { xaxis: { title: { text: "step" } } } };
  });
}
whenColoursChange(draw);

// --- samples, a strip for each prompt

let stripped = "";
function strips(name, samples) {
  const key = JSON.stringify([name, samples]);
  if (key === stripped) return;
  stripped = key;
  const prompts = [...new Set(samples.map((each) => each.prompt))];
  at("strips-part").hidden = !prompts.length;
  at("strips").replaceChildren(...prompts.map((prompt) => element("figure", {},
    element("figcaption", { textContent: prompt, className: "soft" }),
    element("div", { className: "film" }, ...samples.filter((one) => one.prompt === prompt).map((each) => frame(name, each, prompt))))));
}

function frame(name, each, prompt) {
  const image = element("img", { loading: "lazy", alt: `after ${each.step} steps` });
  image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
  image.src = `${runUrl(name)}/sample/${pathOf(each.path)}`;
  const made = element("button", { type: "button" }, image, element("span", { textContent: each.step }));
  made.addEventListener("click", () => {
    at("large").src = image.src;
    at("large").className = image.className;
    at("name").textContent = `step ${each.step}: ${prompt}`;
    at("zoom").showModal();
  });
  return made;
}
at("zoom").addEventListener("click", () => at("zoom").close());

// --- what changes by itself: the queue, and runs that another terminal trains

let before = "";
onQueue((jobs) => {
  const now = JSON.stringify(jobs.map((each) => [each.id, each.state]));
  if (now === before) return;
  before = now;
  refresh();
});

function refresh() {
  list().then(() => { if (shown && !stream) return load(shown); }).catch(told);
}

setInterval(() => { if (!document.hidden) refreshQuietly(); }, LOOKS_EVERY_MS);
async function refreshQuietly() {
  try {
    await list();
    if (shown && (run?.state === "running" || !run)) await load(shown);
  } catch { /* a server that is away is said by what a person does */ }
}

price();
list().catch(told);
