import { get, post, told } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const at = (id) => document.getElementById(id);
const make = (tag, more = {}, ...children) => { const made = Object.assign(document.createElement(tag), more); made.append(...children); return made; };
const WORDS = { queued: "waits", running: "at work", paused: "paused", interrupted: "lost its process; goes on by itself" };
const MOST = 5;

at("open").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/projects", { path: event.target.path.value }).then((answer) => location.assign(answer.url), told);
});

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => post(`/api/projects/${button.dataset.close}/close`).then(() => button.closest("li").remove(), told));
}

onQueue((jobs) => {
  const open = jobs.filter((job) => !isOver(job));
  at("idle").hidden = open.length > 0;
  at("work").replaceChildren(...open.slice(0, MOST).map(line), ...(open.length > MOST ? [make("li", {}, make("a", { href: "/queue", textContent: `and ${open.length - MOST} more in the queue` }))] : []));
});

function line(job) {
  const name = (job.run || job.project || "").split(/[\\/]/).filter(Boolean).pop() || "";
  const row = make("li", {}, make("span", { className: `state ${job.state}`, textContent: WORDS[job.state] }), " ", make("b", { textContent: `${job.kind} ${name}` }));
  if (job.total && job.state === "running") {
    const bar = make("div", { className: "progress" }, make("i"));
    bar.firstChild.style.width = `${100 * job.progress}%`;
    row.append(bar, make("small", { className: "soft", textContent: `${job.stage}: ${job.done.toLocaleString()} of ${job.total.toLocaleString()} ${job.unit}s` }));
  }
  return row;
}

get("/api/machine").then((answer) => at("machine").replaceChildren(...answer.facts.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })])), told);
