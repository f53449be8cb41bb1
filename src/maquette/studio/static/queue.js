import { post, told } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const at = (id) => document.getElementById(id);
const WORDS = { queued: "waits", running: "at work", paused: "paused", done: "done", failed: "failed", cancelled: "stopped", interrupted: "lost its process; goes on by itself" };
const ASKS = { queued: [["first", "To the front"], ["pause", "Hold"], ["cancel", "Take out"]], running: [["pause", "Pause"], ["cancel", "Stop for good"]], paused: [["resume", "Go on"], ["cancel", "Stop for good"]], interrupted: [["resume", "Go on now"], ["cancel", "Take out"]], failed: [["resume", "Try again"]] };

function line(job) {
  const row = document.createElement("li");
  row.className = "panel job";
  const head = Object.assign(document.createElement("div"), { className: "line wrap" });
  head.append(Object.assign(document.createElement("b"), { textContent: `${job.id}  ${job.kind}` }), Object.assign(document.createElement("span"), { className: `state ${job.state}`, textContent: job.asked ? `${WORDS[job.state]}; asked to ${job.asked}` : WORDS[job.state] }), Object.assign(document.createElement("span"), { className: "grow" }));
  for (const [what, text] of ASKS[job.state] || []) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, className: "quiet" });
    button.setAttribute("aria-label", `${text}: job ${job.id}`);
    button.addEventListener("click", () => post(`/api/jobs/${job.id}/${what}`).catch(told));
    head.append(button);
  }
  row.append(head, Object.assign(document.createElement("p"), { className: "path", textContent: job.command }));
  if (job.total && job.state === "running") {
    const bar = Object.assign(document.createElement("div"), { className: "progress" });
    const done = document.createElement("i");
    done.style.width = `${100 * job.progress}%`;
    bar.append(done);
    row.append(bar, Object.assign(document.createElement("p"), { className: "soft", textContent: `${job.stage} ${job.done} of ${job.total}  ${Object.entries(job.values).map(([name, value]) => `${name} ${typeof value === "number" ? value.toPrecision(4) : value}`).join("  ")}` }));
  }
  if (job.error) row.append(Object.assign(document.createElement("p"), { className: "bad", textContent: job.error }));
  return row;
}

onQueue((jobs) => {
  const focused = document.activeElement?.getAttribute("aria-label");
  const open = jobs.filter((job) => !isOver(job)), over = jobs.filter(isOver).reverse();
  at("jobs").replaceChildren(...open.map(line));
  at("none").hidden = open.length > 0;
  at("over").replaceChildren(...over.map(line));
  at("over-part").hidden = !over.length;
  if (focused) document.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
});
