// Captions written by a source: which one, what it takes first, the first ones where they cost nothing, then a job whose captions appear as they come.

import { get, post, toast, told } from "./talk.js";
import { isOver, onQueue } from "./top.js";

const at = (id) => document.getElementById(id);
const NAMES = { template: "Pattern", url: "Server's address", model: "Model", instructions: "What the pictures have in common" };
const HINTS = { template: "{trigger}, {view}, {pose}, {background}", url: "http://127.0.0.1:11434/v1", model: "a folder, or a name", instructions: "say what to look for" };
const EVERY_MS = 2000;

export class Captioning {
  // written() shows what stands in the captions now.
  constructor(api, written) {
    Object.assign(this, { api, written, sources: [], job: 0, seen: 0, asking: 0 });
    const opened = () => { if (at("captioning").open && !this.sources.length) this.begin().catch(told); };
    at("captioning").addEventListener("toggle", opened);
    opened();  // before this script was there
    at("source").addEventListener("change", () => this.chosen());
    at("anew").addEventListener("change", () => this.price());
    at("try").addEventListener("click", () => this.first().catch(told));
    at("by-source").addEventListener("submit", (event) => { event.preventDefault(); this.run().catch(told); });
    onQueue((jobs) => this.heard(jobs));
  }

  async begin() {
    const answer = await get(`${this.api}/captioners`);
    this.sources = answer.sources;
    at("source").replaceChildren(...answer.sources.map((each) => new Option(`${each.name}: ${each.summary}`, each.name)));
    at("strategy").replaceChildren(new Option("as the profile says", ""), ...answer.strategies.map((each) => new Option(`${each.name}: ${each.summary}`, each.name)));
    this.chosen();
  }

  get source() { return this.sources.find((each) => each.name === at("source").value); }

  chosen() {
    at("takes").replaceChildren(...this.source.takes.filter((name) => name in NAMES).map((name) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { name, autocomplete: "off", spellcheck: false, placeholder: HINTS[name] });
      label.append(Object.assign(document.createElement("span"), { textContent: NAMES[name] }), input);
      return label;
    }));
    at("try").hidden = this.source.is_model;
    at("tried").replaceChildren();
    this.price();
  }

  price() {
    if (!this.source) return;
    const mine = ++this.asking;
    post(`${this.api}/caption-price`, { source: this.source.name, overwrite: at("anew").checked }).then((answer) => {
      if (mine !== this.asking) return;
      if (!this.job) at("captioning-price").textContent = answer.said;
      at("write-them").disabled = !answer.pictures || Boolean(this.job);
    }, told);
  }

  asked() {
    const said = Object.fromEntries([...at("takes").querySelectorAll("input")].map((input) => [input.name, input.value.trim()]));
    return { source: this.source.name, overwrite: at("anew").checked, said: { ...said, strategy: at("strategy").value } };
  }

  async first() {
    const answer = await post(`${this.api}/try-captions`, this.asked());
    const lines = [...answer.captions.map((each) => [each.name, each.text, ""]), ...answer.refused.map(([name, why]) => [name, why, "bad"])];
    at("tried").replaceChildren(...(lines.length ? lines : [["", "There is no picture to write for.", "soft"]]).map(([name, text, kind]) => {
      const line = document.createElement("li");
      line.append(Object.assign(document.createElement("b"), { textContent: name }), " ", Object.assign(document.createElement("span"), { className: kind, textContent: text }));
      return line;
    }));
  }

  async run() {
    const answer = await post(`${this.api}/write-captions`, this.asked());
    this.job = answer.job;
    at("write-them").disabled = true;
    toast(`In the queue as job ${answer.job}.`);
  }

  heard(jobs) {
    const mine = jobs.find((each) => each.id === this.job);
    if (!mine) return;
    const bar = at("captioning").querySelector(".progress");
    bar.hidden = isOver(mine);
    bar.firstElementChild.style.width = `${100 * (mine.progress || 0)}%`;
    if (!isOver(mine)) {
      at("captioning-price").textContent = mine.total ? `${mine.done} of ${mine.total}` : "waits in the queue";
      if (mine.done && performance.now() - this.seen > EVERY_MS) { this.seen = performance.now(); this.written(); }
      return;
    }
    this.job = 0;
    if (mine.state === "failed") toast(mine.error || "It failed.", "bad");
    else toast(this.outcome(mine.result), mine.result?.written?.length ? "" : "bad");
    this.written();
    this.price();
  }

  outcome(result) {
    const refused = Object.entries(result?.refused || {});
    return `${result?.written?.length ?? 0} captions written${refused.length ? `; ${refused.length} refused (${refused[0][0]}: ${refused[0][1][0]})` : ""}.`;
  }
}
