import { colour, drawn, whenColoursChange } from "./curves.js";
import { element, time } from "./spoken.js";
import { Stream } from "./streams.js";
import { get, post, toast, told } from "./talk.js";
import { onQueue } from "./top.js";

const root = document.querySelector(".search");
const api = `/api/p/${root.dataset.project}/searches`;
const at = (id) => document.getElementById(id);
const ASKS_AFTER_MS = 400, SOON_MS = 400, LOOKS_EVERY_MS = 5000;
const CHIPS = [["all", "All"], ["running", "Under way"], ["finished", "Finished"], ["pruned", "Ended early"], ["refused", "Refused"], ["failed", "Failed"]];
const GROUP = { waiting: "running", running: "running", finished: "finished", pruned: "pruned", refused: "refused", failed: "failed" };

let shown = "", study = null, job = null, stream = null, filter = "all", order = { by: "number", down: false };
const studyUrl = (name) => `${api}/${encodeURIComponent(name)}`;

// --- what a search would try and take

let asking = 0, outlookTimer = 0;
async function outlook() {
  const mine = ++asking;
  at("start").disabled = true;
  try {
    const found = await get(`${api}/outlook?trials=${encodeURIComponent(at("trials").value)}&pack=${encodeURIComponent(at("pack").value)}`);
    if (mine !== asking) return;
    at("price").textContent = found.price;
    at("problems").replaceChildren();
    at("space").replaceChildren(...named(found.parameters.map((each) => [each.name, each.words])));
    at("left-out").replaceChildren(...found.left_out.map((text) => element("li", { textContent: text })));
    at("constraints").replaceChildren(...named(found.refused.map((each) => [each.name, each.why])));
    at("start").textContent = found.seconds === null ? `Search ${at("trials").value} trials` : `Search ${at("trials").value} trials, ${time(found.seconds)} at the most`;
    at("start").disabled = false;
  } catch (error) {
    if (mine !== asking) return;
    at("price").textContent = "It cannot start as it is:";
    at("problems").replaceChildren(element("li", { textContent: error.message }));
  }
}

const named = (rows) => rows.flatMap(([name, words]) => [element("dt", { textContent: name }), element("dd", { textContent: words })]);

for (const id of ["trials", "pack"]) at(id).addEventListener("input", () => { asking += 1; at("start").disabled = true; clearTimeout(outlookTimer); outlookTimer = setTimeout(outlook, ASKS_AFTER_MS); });

at("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("start").disabled = true;
  try {
    const answer = await post(api, { trials: Number(at("trials").value), pack: Number(at("pack").value) });
    toast(`Job ${answer.job} is in the queue.`);
    await list();
  } catch (error) { told(error); }
  at("start").disabled = false;
});

// --- the searches

let newest = "";
async function list() {
  const answer = await get(api);
  const names = new Set(answer.studies.map((each) => each.name));
  const waiting = answer.jobs.filter((each) => !each.run || !names.has(each.run.split("/").pop()));
  at("no-study").hidden = answer.studies.length + waiting.length > 0;
  const focused = document.activeElement?.dataset?.study;
  at("studies").replaceChildren(
    ...waiting.map((each) => element("li", { className: "soft", textContent: `Job ${each.id} ${each.state === "running" ? "begins" : "waits"}` })),
    ...answer.studies.map(entry));
  if (focused) document.querySelector(`[data-study="${CSS.escape(focused)}"]`)?.focus();
  const first = answer.studies.find((each) => each.state !== "unreadable")?.name || "";
  if (first && first !== newest) { newest = first; await choose(first); }  // one that has just begun is looked at
}

function entry(each) {
  const words = each.state === "begun" ? "no trial yet" : each.state === "unreadable" ? each.problem : `${each.done} of ${each.asked} trials${each.best === null ? "" : ` · best ${each.best.toPrecision(4)}`}`;
  const button = element("button", { type: "button" }, element("b", { textContent: each.name }),
    element("span", { className: `state ${each.state}`, textContent: each.state }), element("small", { className: "soft", textContent: words }));
  button.dataset.study = each.name;
  button.setAttribute("aria-pressed", each.name === shown);
  button.addEventListener("click", () => choose(each.name));
  return element("li", {}, button);
}

async function choose(name) {
  shown = name;
  stream?.close();
  for (const button of document.querySelectorAll(".studies button")) button.setAttribute("aria-pressed", button.dataset.study === name);
  await load();
  stream = new Stream(`${studyUrl(name)}/stream`);
  stream.onmessage = () => { if (shown === name) soon(); };
}

let soonTimer = 0;
function soon() { soonTimer ||= setTimeout(() => { soonTimer = 0; load(); }, SOON_MS); }

async function load() {
  const name = shown;
  try {
    const answer = await get(studyUrl(name));
    if (shown !== name || answer.state === "begun") return;  // its stream tells when there is something
    study = answer;
    job = answer.job;
    show();
  } catch (error) { if (shown === name && !at("study").hidden) told(error); }
}

// --- one search

function show() {
  at("study").hidden = false;
  at("study-name").textContent = study.name;
  const state = job && ["queued", "paused"].includes(job.state) ? job.state : study.state;
  at("study-state").textContent = state;
  at("study-state").className = `state ${state}`;
  at("pause").hidden = !job || !["running", "queued"].includes(job.state);
  at("resume").hidden = study.state === "finished" || state === "running" || state === "queued";
  at("cancel").hidden = !job || !["running", "queued", "paused", "interrupted"].includes(job.state);
  bar();
  facts();
  verdict();
  chips();
  table();
  draw();
}

for (const what of ["pause", "cancel"]) at(what).addEventListener("click", () => job && post(`/api/jobs/${job.id}/${what}`).then(load, told));

at("resume").addEventListener("click", async () => {
  try {
    const waits = job && ["paused", "interrupted", "failed"].includes(job.state);
    if (waits) await post(`/api/jobs/${job.id}/resume`); else await post(`${studyUrl(shown)}/resume`);
    toast("It goes on when its turn comes.");
    await load();
  } catch (error) { told(error); }
});

function bar() {
  const asked = study.asked + study.finalists.asked, done = study.done + study.finalists.trained;
  const share = asked ? Math.min(100, 100 * done / asked) : 0;
  at("done").style.width = `${share}%`;
  at("bar").setAttribute("aria-valuenow", Math.round(share));
}

const number = (value) => value === null || value === undefined ? "" : value.toPrecision(4);

function facts() {
  const rows = [
    ["trials", `${study.done} of ${study.asked}`],
    ["further seeds", study.finalists.asked ? `${study.finalists.trained} of ${study.finalists.asked}` : ""],
    [study.objective === "loss" ? "best loss" : "best score", study.best ? `${number(study.best.value)}, trial ${study.best.trial}` : ""],
    ["the project's own", number(study.baseline?.value)],
    ["refused beforehand", study.pruned_by_constraint ? String(study.pruned_by_constraint) : ""],
    ["searched for", study.seconds ? time(study.seconds) : ""],
    ["time left", study.is_at_work && study.seconds_left !== null ? `about ${time(study.seconds_left)}` : ""],
  ];
  at("facts").replaceChildren(...rows.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

function verdict() {
  at("headline").textContent = study.headline;
  at("told").textContent = study.best ? study.told : "";
  const found = study.recommended;
  at("cost").textContent = found ? found.problem || found.cost : "";
  const rows = found ? found.changes : [];
  at("changes-part").hidden = !rows.length;
  at("changes").tBodies[0].replaceChildren(...rows.map((each) => element("tr", {},
    element("th", { scope: "row", textContent: each.name }), element("td", { textContent: each.before }),
    element("td", { textContent: each.after, className: each.is_other ? "other" : "" }))));
  at("use").hidden = !rows.some((each) => each.is_other);
  at("undo").hidden = !study.undo;
  at("undo").title = study.undo || "";
  at("report").hidden = !study.report;
  at("report").href = `/p/${root.dataset.project}/search/${encodeURIComponent(study.name)}/report`;
  at("write-report").hidden = study.report || !study.best;
}

at("use").addEventListener("click", () => act("use", (answer) => `${answer.changed.length} settings of the project are changed.`));
at("write-report").addEventListener("click", () => act("report", () => "The report is written."));
at("undo").addEventListener("click", () => post(`${api}/undo`).then((answer) => { toast(`Taken back: ${answer.undone}.`); outlook(); return load(); }, told));

async function act(what, words) {
  at(what === "use" ? "use" : "write-report").disabled = true;
  try {
    toast(words(await post(`${studyUrl(shown)}/${what}`)));
    await load();
    if (what === "use") outlook();
  } catch (error) { told(error); }
  at(what === "use" ? "use" : "write-report").disabled = false;
}

// --- the trials

function chips() {
  const count = (name) => name === "all" ? study.rows.length : study.rows.filter((row) => GROUP[row.state] === name).length;
  at("chips").replaceChildren(...CHIPS.filter(([name]) => name === "all" || count(name)).map(([name, text]) => {
    const button = element("button", { type: "button" }, text, element("b", { textContent: count(name) }));
    button.setAttribute("aria-pressed", filter === name);
    button.dataset.chip = name;
    button.addEventListener("click", () => { filter = name; chips(); table(); document.querySelector(`[data-chip="${name}"]`)?.focus(); });
    return button;
  }));
}

const FIRST = [
  { name: "number", text: "trial", key: (row) => row.number },
  { name: "state", text: "state", key: (row) => row.told },
  { name: "value", text: "value", key: (row) => row.value },
  { name: "curve", text: "held-out loss", key: (row) => row.points.at(-1)?.[1] ?? null },
  { name: "step", text: "steps", key: (row) => row.step },
];

function columns() {
  return [...FIRST, ...study.columns.map((name) => ({ name, text: name.replaceAll("_", " "), key: (row) => row.keys[name] ?? null, isSetting: true }))];
}

function table() {
  const all = columns(), by = all.find((each) => each.name === order.by) || all[0];
  const head = at("trials-table").tHead.rows[0], focused = document.activeElement?.dataset?.sort;
  head.replaceChildren(...all.map((each) => heading(each, by)), element("th", { scope: "col", textContent: "what there is to say", className: "note" }));
  if (focused) document.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
  const rows = study.rows.filter((row) => filter === "all" || GROUP[row.state] === filter).sort((a, b) => compared(by.key(a), by.key(b), order.down) || a.number - b.number);
  const losses = study.rows.flatMap((row) => row.points.map(([, loss]) => loss)).filter(Number.isFinite).sort((a, b) => a - b);
  const range = losses.length ? [losses[0], losses[Math.floor(0.9 * (losses.length - 1))]] : [0, 1];
  at("trials-table").tBodies[0].replaceChildren(...rows.map((row) => line(row, range)));
}

function heading(each, by) {
  const button = element("button", { type: "button", textContent: each.text });
  button.dataset.sort = each.name;
  button.addEventListener("click", () => { order = { by: each.name, down: order.by === each.name && !order.down }; table(); });
  const cell = element("th", { scope: "col" }, button);
  cell.setAttribute("aria-sort", each.name === by.name ? (order.down ? "descending" : "ascending") : "none");
  return cell;
}

function compared(a, b, down) {
  if (a === null || b === null || a === undefined || b === undefined) return (a === null || a === undefined) - (b === null || b === undefined);
  const found = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return down ? -found : found;
}

function line(row, range) {
  const best = study.best?.trial === row.number;
  const classes = [best ? "best" : "", row.role === "baseline" ? "baseline" : "", ["refused", "failed"].includes(row.state) ? "out" : ""];
  return element("tr", { className: classes.filter(Boolean).join(" ") },
    element("td", { textContent: `${row.number}${best ? " ★" : ""}` }),
    element("td", {}, element("span", { className: `state ${row.state}`, textContent: row.told === "pruned" ? "ended early" : row.told })),
    element("td", { textContent: number(row.value) }),
    element("td", {}, spark(row.points, range)),
    element("td", { textContent: row.steps ? `${row.step} / ${row.steps}` : String(row.step) }),
    ...study.columns.map((name) => element("td", { textContent: row.params[name] ?? (study.baseline && (row.number === study.baseline.trial || row.of === study.baseline.trial) ? "as it is" : "") })),
    element("td", { className: "note", textContent: row.note || (row.role === "finalist" ? `seed ${row.seed}` : "") }));
}

const SVG = "http://www.w3.org/2000/svg";
function spark(points, [low, high]) {
  const kept = points.filter(([, loss]) => Number.isFinite(loss));
  if (!kept.length) return "";
  const last = Math.max(...study.rows.map((row) => row.points.at(-1)?.[0] || 0)) || 1;
  const place = ([step, loss]) => [84 * step / last, 24 - 24 * Math.min(1, Math.max(0, (loss - low) / (high - low || 1)))];
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 84 24");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", kept.map(([step, loss]) => `${loss.toPrecision(3)} at step ${step}`).join(", "));
  const curve = document.createElementNS(SVG, "polyline");
  curve.setAttribute("points", kept.map((each) => place(each).map((part) => part.toFixed(1)).join(",")).join(" "));
  const end = document.createElementNS(SVG, "circle");
  const [x, y] = place(kept.at(-1));
  for (const [name, value] of [["cx", x], ["cy", y], ["r", 2.6]]) end.setAttribute(name, value);
  picture.append(curve, end);
  return picture;
}

// --- best so far

function draw() {
  drawn(at("plot"), () => {
    const over = study.rows.filter((row) => row.value !== null && row.of === null).sort((a, b) => (a.ended_s ?? 0) - (b.ended_s ?? 0));
    const isLess = study.objective === "loss";
    let best = null;
    at("history").hidden = !over.length;
    const path = over.map((row) => { best = best === null ? row.value : isLess ? Math.min(best, row.value) : Math.max(best, row.value); return best; });
    const places = over.map((_, place) => place + 1);
    const lines = over.length ? [
      { x: places, y: over.map((row) => row.value), text: over.map((row) => `trial ${row.number}`), name: "a finished trial", mode: "markers", marker: { color: colour("--second"), size: 9 } },
      { x: places, y: path, name: "best so far", mode: "lines", line: { color: colour("--accent"), width: 2.4, shape: "hv" } },
    ] : [];
    if (lines.length && study.baseline?.value) lines.push({ x: [1, over.length], y: [study.baseline.value, study.baseline.value], name: "the project's own", mode: "lines", line: { color: colour("--soft"), width: 1.4, dash: "dot" } });
    return { lines, layout: { height: 260, xaxis: { title: { text: "finished trials" }, dtick: over.length > 20 ? undefined : 1 }, yaxis: { title: { text: isLess ? "held-out loss" : "score" } } } };
  });
}
whenColoursChange(() => study && draw());

// --- what changes by itself

let before = "";
onQueue((jobs) => {
  const now = JSON.stringify(jobs.filter((each) => each.kind === "search").map((each) => [each.id, each.state, each.run]));
  if (now === before) return;
  before = now;
  list().then(() => shown && load()).catch(told);
});
setInterval(() => { if (!document.hidden) list().then(() => shown && study?.state !== "finished" && load()).catch(() => {}); }, LOOKS_EVERY_MS);

outlook();
list().catch(told);
