import { get, pathOf, post, toast, told } from "./talk.js";
import { Stream } from "./streams.js";
import { onQueue } from "./top.js";

const root = document.querySelector(".train");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const WINDOW = 0.06, REDRAW_MS = 400, LOOK_MS = 800;
let shown = "", stream = null, curve = { step: [], loss: [] }, validation = null, job = null, drawing = 0, began = null, known = "", pending = false;

const bytes = (number) => number >= 2 ** 30 ? `${(number / 2 ** 30).toFixed(1)} GB` : `${Math.round(number / 2 ** 20)} MB`;
const time = (seconds) => seconds >= 5400 ? `${(seconds / 3600).toFixed(1)} h` : seconds >= 90 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds)} s`;

// --- what the next run takes, before anything is spent

async function price() {
  try {
    const plan = await get(`${api}/plan`);
    at("sum").textContent = plan.sum;
    const rows = [["time", plan.seconds === null ? "not known for this device" : `about ${time(plan.seconds)}`], ["memory", plan.memory.available_bytes ? `${bytes(plan.memory_bytes)} of ${bytes(plan.memory.available_bytes)}` : bytes(plan.memory_bytes)], ["disk", bytes(plan.disk_bytes)], ["checkpoints", String(plan.checkpoints.length)]];
    at("price").replaceChildren(...rows.flatMap(([name, value]) => [Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value })]));
    const changes = plan.memory.fits ? [] : plan.changes.map((each) => each.text || each.what || JSON.stringify(each));
    at("problems").replaceChildren(...changes.map((text) => Object.assign(document.createElement("li"), { textContent: `To fit: ${text}` })));
    at("start").textContent = plan.seconds === null ? `Train ${plan.steps} steps` : `Train ${plan.steps} steps, about ${time(plan.seconds)}`;
    at("start").disabled = false;
  } catch (error) {
    at("sum").textContent = "It cannot start as it is:";
    at("problems").replaceChildren(Object.assign(document.createElement("li"), { textContent: error.message }));
  }
}

at("start").addEventListener("click", async () => {
  at("start").disabled = true;
  try {
    const answer = await post(`${api}/train`);
    toast(`Job ${answer.job} is in the queue.`);
    await runs();
  } catch (error) { told(error); }
  at("start").disabled = false;
});

// --- the runs

async function runs() {
  const answer = await get(`${api}/runs`);
  const names = new Set(answer.runs.map((run) => run.name));
  const waiting = answer.jobs.filter((each) => each.run && !names.has(each.run.split("/").pop()));
  pending = waiting.length > 0;
  at("no-run").hidden = answer.runs.length + waiting.length > 0;
  at("runs").replaceChildren(...waiting.map((each) => entry(each.run.split("/").pop(), each.state, "")), ...answer.runs.map((run) => entry(run.name, run.state, `${run.step} of ${run.steps} steps · rank ${run.rank}${run.loss ? ` · loss ${run.loss.toFixed(4)}` : ""}`)));
  if (!shown && answer.runs.length) choose(answer.runs[0].name);
}

function entry(name, state, about) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.setAttribute("aria-pressed", name === shown);
  button.append(Object.assign(document.createElement("b"), { textContent: name }), Object.assign(document.createElement("span"), { className: `state ${state}`, textContent: state }), Object.assign(document.createElement("small"), { className: "soft", textContent: about }));
  button.addEventListener("click", () => choose(name));
  const line = document.createElement("li");
  line.append(button);
  return line;
}

async function choose(name) {
  shown = name;
  stream?.close();
  stream = null;
  at("log").replaceChildren();
  began = null;
  for (const button of document.querySelectorAll(".runs button")) button.setAttribute("aria-pressed", button.querySelector("b").textContent === name);
  await load(name);
  if (job && shown === name) listen(name);
}

async function load(name) {
  try {
    const run = await get(`${api}/run/${encodeURIComponent(name)}`);
    if (shown !== name) return;
    at("run").hidden = false;
    ({ curve, validation, job } = run);
    at("run-name").textContent = name;
    at("run-problem").textContent = run.problem;
    state(job && job.state !== "done" ? job.state : run.state);
    bar(run.step, run.steps);
    at("beside").textContent = [run.seconds_per_step ? `${run.seconds_per_step.toFixed(2)} s a step` : "", run.peak_memory_bytes ? `${bytes(run.peak_memory_bytes)} at most` : "", ...run.notes].filter(Boolean).join(" · ");
    strips(name, run.samples);
    draw();
  } catch (error) { if (shown === name && !at("run").hidden) told(error); }
}

function state(text) {
  at("run-state").textContent = text;
  at("run-state").className = `state ${text}`;
  at("pause").hidden = !job || !["running", "queued"].includes(job.state);
  at("resume").hidden = !job || !["paused", "interrupted", "failed"].includes(job.state);
  at("cancel").hidden = !job || !["running", "queued", "paused", "interrupted"].includes(job.state);
}

for (const what of ["pause", "resume", "cancel"]) at(what).addEventListener("click", () => job && post(`/api/jobs/${job.id}/${what}`).then((answer) => { job = answer.job; state(job.state); if (what === "resume") listen(shown); }, told));

function bar(done, total) {
  const share = total ? 100 * done / total : 0;
  at("done").style.width = `${share}%`;
  at("bar").setAttribute("aria-valuenow", Math.round(share));
}

// --- live

function listen(name) {
  stream?.close();
  stream = new Stream(`/api/jobs/${job.id}/stream`);
  stream.onmessage = (message) => { if (shown === name) hear(JSON.parse(message.data), name); };
  stream.addEventListener("end", () => { stream?.close(); stream = null; if (shown === name) load(name); });
}

function hear(event, name) {
  if (event.event === "progress" && event.stage === "train") {
    bar(event.done, event.total);
    if (typeof event.values?.loss === "number" && !(event.done <= curve.step.at(-1))) { curve.step.push(event.done); curve.loss.push(event.values.loss); later(); }
    if (!began || event.done < began.done) began = { done: event.done, time: event.time };
    const pace = (event.time - began.time) / Math.max(1, event.done - began.done);
    const left = event.done > began.done ? `${time((event.total - event.done) * pace)} left` : "";
    const values = Object.entries(event.values || {}).map(([key, value]) => `${key} ${typeof value === "number" ? value.toPrecision(4) : value}`);
    at("beside").textContent = [`step ${event.done} of ${event.total}`, ...values, left].filter(Boolean).join(" · ");
  } else if (event.event === "message" || event.event === "artifact") {
    at("log").append(Object.assign(document.createElement("li"), { textContent: event.text || `${event.kind}: ${event.path}`, className: event.level || "" }));
    if (event.event === "artifact") soon(name);
  } else if (event.event === "state") {
    if (job) { job.state = event.state; state(event.state); }
    if (event.error) at("run-problem").textContent = event.error;
  }
}

let soonTimer = 0;
function soon(name) { clearTimeout(soonTimer); soonTimer = setTimeout(() => { if (shown === name) load(name); }, 1200); }

// --- the curve

function smoothed(values) {
  const width = Math.max(1, Math.round(values.length * WINDOW));
  let sum = 0;
  return values.map((value, place) => { sum += value; if (place >= width) sum -= values[place - width]; return sum / Math.min(place + 1, width); });
}

function later() { if (!drawing) drawing = setTimeout(() => { drawing = 0; draw(); }, REDRAW_MS); }

function draw() {
  if (!window.Plotly) return addEventListener("load", draw, { once: true });
  at("plot").hidden = !curve.step.length;
  if (!curve.step.length) return;
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const lines = [
    { x: curve.step, y: curve.loss, name: "loss", mode: "lines", line: { color: colour("--accent"), width: 1 }, opacity: 0.3, hoverinfo: "skip" },
    { x: curve.step, y: smoothed(curve.loss), name: "smoothed", mode: "lines", line: { color: colour("--accent"), width: 2.4 } },
  ];
  if (validation) lines.push({ x: validation.step, y: validation.loss, name: validation.measured_on === "held-out" ? "held-out pictures" : "validation", mode: "lines+markers", line: { color: colour("--second"), width: 2.2 } });
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickcolor: colour("--line") };
  window.Plotly.react(at("plot"), lines, { margin: { l: 52, r: 12, t: 8, b: 38 }, height: 300, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--soft"), size: 12 }, xaxis: { ...axis, title: { text: "step" } }, yaxis: axis, legend: { orientation: "h", y: 1.12 }, showlegend: true }, { displayModeBar: false, responsive: true });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// --- samples, a strip for each prompt

function strips(name, samples) {
  const key = JSON.stringify(samples);
  if (key === known) return;
  known = key;
  const prompts = [...new Set(samples.map((each) => each.prompt))];
  at("strips-part").hidden = !prompts.length;
  at("strips").replaceChildren(...prompts.map((prompt) => {
    const row = document.createElement("figure");
    row.append(Object.assign(document.createElement("figcaption"), { textContent: prompt, className: "soft" }));
    const film = Object.assign(document.createElement("div"), { className: "film" });
    for (const each of samples.filter((one) => one.prompt === prompt)) {
      const frame = Object.assign(document.createElement("button"), { type: "button" });
      const image = new Image();
      image.loading = "lazy";
      image.alt = `after ${each.step} steps`;
      image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
      image.src = `${api}/run/${encodeURIComponent(name)}/sample/${pathOf(each.path)}`;
      frame.append(image, Object.assign(document.createElement("span"), { textContent: each.step }));
      frame.addEventListener("click", () => { at("large").src = image.src; at("large").className = image.className; at("name").textContent = `step ${each.step}: ${prompt}`; at("zoom").showModal(); });
      film.append(frame);
    }
    row.append(film);
    return row;
  }));
}
at("zoom").addEventListener("click", () => at("zoom").close());

let before = "", looked = 0;
onQueue((jobs) => {
  const now = JSON.stringify(jobs.map((each) => [each.id, each.state]));
  // A job's folder has a record a while after the job began.
  const isDue = pending && Date.now() - looked > LOOK_MS;
  if (now !== before || isDue) {
    looked = Date.now(); before = now; runs().then(() => { if (shown && !stream) load(shown).then(() => { if (job && ["queued", "running", "paused"].includes(job.state)) listen(shown); }); }, told); }
});
price();
runs().catch(told);
