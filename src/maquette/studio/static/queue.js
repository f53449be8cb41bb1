import { element, time } from "./spoken.js";
import { get, post, toast, told } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const at = (id) => document.getElementById(id);
const WORDS = {
  queued: "waits", running: "at work", paused: "paused", done: "done", failed: "failed", cancelled: "stopped",
  interrupted: "lost its process; goes on by itself",
};
const MOVES = [["first", "To the front"], ["up", "Up"], ["down", "Down"]];
const ASKS = {
  queued: [...MOVES, ["pause", "Hold"], ["cancel", "Take out"]],
  running: [["pause", "Pause"], ["cancel", "Stop for good"], ["kill", "Stop at once…"]],
  paused: [...MOVES, ["resume", "Go on"], ["cancel", "Stop for good"]],
  interrupted: [...MOVES, ["resume", "Go on now"], ["cancel", "Take out"]],
  failed: [["resume", "Try again"]],
};

function line(job, alone) {
  const head = element("div", { className: "line wrap" },
    element("b", { textContent: `${job.id}  ${job.kind}` }),
    element("span", { className: `state ${job.state}`, textContent: job.asked ? `${WORDS[job.state]}; asked to ${job.asked}` : WORDS[job.state] }),
    element("span", { className: "grow" }));
  for (const [what, text] of ASKS[job.state] || []) {
    if (alone && MOVES.some(([name]) => name === what)) continue;
    head.append(button(`${text}: job ${job.id}`, text, () => what === "kill" ? sure(job) : ask(job, what)));
  }
  head.append(button(`Log: job ${job.id}`, "Log", () => log(job)));
  const row = element("li", { className: "panel job" }, head, element("p", { className: "path", textContent: job.command }));
  if (job.total && job.state === "running") row.append(...progress(job));
  if (job.error) row.append(element("p", { className: "error", textContent: job.error }));
  return row;
}

function button(label, text, act) {
  const made = element("button", { type: "button", textContent: text, className: "quiet" });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function progress(job) {
  const done = element("i");
  done.style.width = `${100 * job.progress}%`;
  const values = Object.entries(job.values).map(([name, value]) => `${name} ${typeof value === "number" ? value.toPrecision(4) : value}`);
  return [
    element("div", { className: "progress" }, done),
    element("p", { className: "soft", textContent: [`${job.stage} ${job.done} of ${job.total}`, ...values, left(job)].filter(Boolean).join("  ") }),
  ];
}

const seen = new Map(); // job → where its progress was when this page saw it first
function left(job) {
  const now = Date.now() / 1000, key = `${job.id} ${job.attempt} ${job.stage}`;
  const first = seen.get(key);
  if (!first || first.done > job.done) { seen.set(key, { done: job.done, time: now }); return ""; }
  if (job.done === first.done) return "";
  return `about ${time((job.total - job.done) * (now - first.time) / (job.done - first.done))} left`;
}

const ask = (job, what) => post(`/api/jobs/${job.id}/${what}`).catch(told);

// --- ending a job at once: what is lost is said first

let doomed = null;
async function sure(job) {
  try {
    const answer = await get(`/api/jobs/${job.id}/loss`);
    doomed = job;
    at("sure-heading").textContent = `Stop job ${job.id} at once?`;
    at("sure-lost").textContent = answer.lost;
    at("sure").showModal();
  } catch (error) { told(error); }
}
at("sure-yes").addEventListener("click", () => { at("sure").close(); if (doomed) ask(doomed, "kill"); });
at("sure-no").addEventListener("click", () => at("sure").close());

// --- what a job printed

async function log(job) {
  try {
    const answer = await get(`/api/jobs/${job.id}/log`);
    at("said-heading").textContent = `Job ${job.id}: ${job.kind}`;
    at("said-error").textContent = job.error || "";
    at("said-findings").replaceChildren(...answer.findings.map((each) => element("li", {},
      element("p", {}, element("b", { textContent: each.name.replace(/\.$/, "") }), ` (${each.code})`),
      element("p", { className: "soft", textContent: each.message }), element("p", { textContent: each.remedy }))));
    at("said-lines").textContent = answer.lines.join("\n") || "Nothing was said.";
    at("said").showModal();
    at("said-lines").scrollTop = at("said-lines").scrollHeight;
  } catch (error) { told(error); }
}
at("said-close").addEventListener("click", () => at("said").close());

at("clear").addEventListener("click", () => post("/api/jobs/clear").then((answer) => toast(`${answer.cleared.length} jobs forgotten; what they made stays.`), told));

onQueue((jobs) => {
  const focused = document.activeElement?.getAttribute("aria-label");
  const open = jobs.filter((job) => !isOver(job)), over = jobs.filter(isOver).reverse();
  const waiting = open.filter((job) => job.state !== "running").length;
  at("jobs").replaceChildren(...open.map((job) => line(job, waiting < 2)));
  at("none").hidden = open.length > 0;
  at("over").replaceChildren(...over.map((job) => line(job, true)));
  at("over-part").hidden = !over.length;
  at("over-count").textContent = over.length;
  if (focused) document.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
});
