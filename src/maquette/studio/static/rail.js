// What every stop of the project's way has to say: painted once the page stands, again when jobs or the project change.

import { onQueue } from "./top.js";

const rail = document.querySelector(".rail[data-project]");
const SOON_MS = 400, EVERY_SHARE = 0.05;
const QUIET = /\/(try-|preview|look-at)/;
let timer = 0, asked = 0, jobs = "";

async function paint() {
  const mine = ++asked, response = await fetch(`/api/p/${rail.dataset.project}/rail`).catch(() => null);
  if (!response?.ok) return;
  const states = await response.json();
  if (mine !== asked) return;
  for (const link of rail.querySelectorAll("a[data-stop]")) {
    const { state, note, count } = states[link.dataset.stop] || { state: "", note: "", count: 0 };
    let mark = link.querySelector(".says");
    if (!mark) {
      mark = document.createElement("span");
      link.append(mark);
    }
    mark.className = `says ${state}`;
    const sign = document.createElement("b");
    sign.setAttribute("aria-hidden", "true");
    sign.textContent = state === "done" ? "✓" : state === "running" ? "" : count || (state === "blocked" ? "!" : "");
    const words = document.createElement("span");
    words.className = "off";
    words.textContent = note ? `: ${note}` : "";
    mark.replaceChildren(...(state ? [sign] : []), words);
    link.title = note;
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(paint, SOON_MS);
}

if (rail) {
  paint();
  onQueue((known) => {
    const now = known.map((job) => `${job.id}${job.state}${Math.floor((job.progress || 0) / EVERY_SHARE)}`).join();
    if (jobs && now !== jobs) soon();
    jobs = now;
  });
  document.addEventListener("maquette:changed", (event) => { if (!QUIET.test(event.detail || "")) soon(); });
  // On a small screen the way is wider than the screen: where one is stands in sight.
  const here = rail.querySelector("[aria-current]"), way = rail.querySelector("ol");
  if (here && way.scrollWidth > way.clientWidth) way.scrollLeft = here.offsetLeft - way.offsetLeft - 40;
}
