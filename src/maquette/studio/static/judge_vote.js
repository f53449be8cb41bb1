// Blind votes: two pictures of one prompt and seed, and no name of who drew them until it is over.

import { get, post, told } from "./talk.js";

const at = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
const dialog = at("ballot"), KEYS = { ArrowLeft: "left", ArrowRight: "right", "=": "neither", 0: "neither" };
let pairs = [], place = 0, api = "", hooks = {}, busy = false;

export async function openBallot(newApi, newHooks) {
  [api, hooks, place] = [newApi, newHooks, 0];
  try { pairs = (await get(`${api}/ballot`)).pairs; } catch (error) { return told(error); }
  dialog.showModal();
  if (pairs.length) show(); else result();
}

function show() {
  if (place >= pairs.length) return result();
  at("ballot-title").textContent = "Which is better?";
  at("ballot-told").textContent = `${place + 1} of ${pairs.length}`;
  for (const [id, key] of [["ballot-left", pairs[place][0]], ["ballot-right", pairs[place][1]]]) {
    const image = at(id);
    image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
    image.src = `${api}/ballot/${key}`;
  }
  for (const key of pairs[place + 1] ?? []) new Image().src = `${api}/ballot/${key}`;
  visible(true);
  at("unvote").disabled = place === 0;
}

function visible(voting) {
  at("ballot-pair").hidden = at("ballot-keys").hidden = !voting;
  at("ballot-end").textContent = voting ? "End and count" : "Close";
  at("ballot-result").hidden = voting;
}

async function answer(what) {
  if (busy || place >= pairs.length) return;
  busy = true;
  try { await post(`${api}/vote`, { pair: pairs[place], answer: what }); place += 1; show(); } catch (error) { told(error); }
  busy = false;
}

async function takeBack() {
  if (busy || place === 0) return;
  busy = true;
  try { await post(`${api}/unvote`, { pair: pairs[place - 1] }); place -= 1; show(); } catch (error) { told(error); }
  busy = false;
}

// The names, and how often each would be preferred to one of middling strength (Bradley and Terry).
async function result() {
  visible(false);
  place = pairs.length;
  at("ballot-title").textContent = "What the votes say";
  at("ballot-told").textContent = "";
  try {
    const { votes } = await get(api);
    at("ballot-sum").textContent = votes.votes ? `${votes.votes} ${votes.votes === 1 ? "vote" : "votes"}. The share is the chance that it is preferred to one of middling strength; intervals that overlap may be chance.` : "No vote is kept yet.";
    const head = document.createElement("tr");
    head.append(...["Checkpoint", "Preferred", "95 %", "Pairs"].map((text) => make("th", text, { scope: "col" })));
    const percent = (value) => `${Math.round(100 * value)} %`;
    at("ranking").replaceChildren(head, ...votes.ranking.map((each) => {
      const row = document.createElement("tr");
      row.append(make("th", each.label, { scope: "row" }), make("td", percent(each.preferred)), make("td", each.low === null ? "–" : `${percent(each.low)} – ${percent(each.high)}`), make("td", each.pairs));
      return row;
    }));
    at("by-votes").hidden = !votes.votes;
  } catch (error) { told(error); }
}

for (const button of dialog.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
at("unvote").addEventListener("click", takeBack);
at("ballot-end").addEventListener("click", () => at("ballot-result").hidden ? result() : dialog.close());
at("by-votes").addEventListener("click", async () => { await hooks.choose(); dialog.close(); });
dialog.addEventListener("close", () => hooks.over?.());
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !at("ballot-result").hidden) return;
  if (event.key in KEYS) answer(KEYS[event.key]);
  else if (event.key.toLowerCase() === "u") takeBack();
  else return;
  event.preventDefault();
});
