// The settings as a form: made from the records that the server tells, changed values kept apart until they are saved.

import { made, withCode } from "./talk.js";

const at = (id) => document.getElementById(id);
const TYPED_MS = 400;
const NONE = "";

export class Settings {
  constructor({ onTyped, onState }) {
    Object.assign(this, { onTyped, onState, fields: new Map(), values: {}, elsewhere: {}, typed: new Map(), controls: new Map(), mark: "", undo: "", timer: 0, answer: null });
    at("more").addEventListener("toggle", () => { if (at("more").open) this.buildAll(); });
    at("find").addEventListener("input", () => this.filter());
    at("find").addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  }

  get changes() { return Object.fromEntries(this.typed); }
  get isDirty() { return this.typed.size > 0; }
  titleOf = (name) => name.replaceAll("_", " ").replace(/\blr\b/g, "learning rate").replace(/^./, (letter) => letter.toUpperCase());

  build(answer) {
    this.fields = new Map(answer.fields.map((field) => [field.name, field]));
    this.first = answer.first;
    at("first").replaceChildren(...answer.first.map((name) => this.control(this.fields.get(name))));
    this.take(answer);
    if (at("more").open) this.buildAll();  // opened before the settings were there
  }

  buildAll() {
    if (at("all").childElementCount || !this.fields.size) return;
    const sections = new Map();
    for (const field of this.fields.values()) {
      if (this.controls.has(field.name)) continue;
      if (!sections.has(field.section)) sections.set(field.section, []);
      sections.get(field.section).push(field);
    }
    at("all").replaceChildren(...[...sections].map(([name, fields]) => {
      const part = made("section", "section"), grid = made("div", "fields");
      const id = `section-${name}`;
      part.setAttribute("aria-labelledby", id);
      grid.append(...fields.map((field) => this.control(field)));
      part.append(made("h3", "", `[${name}]`, { id }), grid);
      return part;
    }));
    this.paint();
    this.filter();
    if (this.answer) this.remark(this.answer);
  }

  goTo(hash) {
    const name = hash.replace("#setting-", "");
    if (!this.fields.has(name)) return;
    if (!this.controls.has(name)) { at("more").open = true; this.buildAll(); }
    const { input, box } = this.controls.get(name);
    box.scrollIntoView({ block: "center" });
    input.focus({ preventScroll: true });
  }

  filter() {
    const words = at("find").value.toLowerCase().trim();
    for (const [name, { box }] of this.controls) {
      if (this.first.includes(name)) continue;
      const field = this.fields.get(name);
      box.hidden = Boolean(words) && ![name, this.titleOf(name), field.help, field.section].some((text) => text.toLowerCase().includes(words));
    }
    for (const part of at("all").children) part.hidden = ![...part.querySelectorAll(".setting")].some((box) => !box.hidden);
  }

  // --- one field

  control(field) {
    const box = made("div", `setting ${field.kind}`, "", { id: `setting-${field.name}` });
    const id = `input-${field.name}`;
    const label = made("label", "", this.titleOf(field.name), { htmlFor: id, title: `${field.name}, ${field.flag}` });
    const input = this.input(field, id);
    input.setAttribute("aria-describedby", `help-${field.name} said-${field.name}`);
    const source = made("span", "source");
    const head = made("div", "setting-head");
    head.append(label, source);
    const help = made("p", "help", field.help, { id: `help-${field.name}` });
    const asks = made("p", "asks", [field.asks, field.unit && !field.asks.includes(field.unit) ? field.unit : "", field.is_required ? "required" : ""].filter(Boolean).join(", "));
    const said = made("ul", "remarks", "", { id: `said-${field.name}` });
    box.append(head, input, said, help, asks);
    input.addEventListener("input", () => this.onInput(field));
    this.controls.set(field.name, { box, input, source, said });
    return box;
  }

  input(field, id) {
    const name = field.name;
    if (field.kind === "truth" || field.kind === "choice") {
      const select = made("select", "", "", { id, name });
      const options = field.kind === "truth" ? [["true", "yes"], ["false", "no"]] : field.choices.map((choice) => [choice, choice]);
      const left = field.default === null ? "as the help says" : `default: ${field.kind === "truth" ? (field.default ? "yes" : "no") : field.default}`;
      select.append(new Option(left, NONE), ...options.map(([value, text]) => new Option(text, value)));
      return select;
    }
    if (field.kind === "list") return made("textarea", "", "", { id, name, rows: 2, spellcheck: false, placeholder: "one a line" });
    const input = made("input", "", "", { id, name, type: "text", spellcheck: false, placeholder: this.placeholder(field) });
    if (field.kind === "number" || field.kind === "whole") input.inputMode = "decimal";
    return input;
  }

  placeholder(field) {
    const held = this.elsewhere[field.name] ?? field.default;
    if (Array.isArray(held)) return held.length === 2 && held[0] === held[1] ? String(held[0]) : held.join(", ");
    return held === null || held === "" ? "" : String(held);
  }

  asText(field, value) {
    if (value === undefined || value === null) return NONE;
    if (field.kind === "list") return (Array.isArray(value) ? value : [value]).join("\n");
    if (Array.isArray(value)) return value.join(", ");
    return String(value);
  }

  // --- values

  onInput(field) {
    const { input } = this.controls.get(field.name);
    const before = this.asText(field, this.values[field.name]?.value);
    if (input.value.trim() === before) this.typed.delete(field.name);
    else this.typed.set(field.name, this.asValue(field, input.value.trim()));
    this.paintOne(field.name);
    this.quiet(field.name);
    this.onState();
    clearTimeout(this.timer);
    this.timer = setTimeout(this.onTyped, TYPED_MS);
  }

  asValue(field, text) {
    if (text === NONE) return null;
    return field.kind === "list" ? text.split("\n").map((line) => line.trim()).filter(Boolean) : text;
  }

  take(answer, keepTyped = false) {
    Object.assign(this, { values: answer.values, elsewhere: answer.elsewhere, mark: answer.mark, undo: answer.undo });
    if (!keepTyped) this.typed.clear();
    for (const [name, value] of [...this.typed]) {
      const field = this.fields.get(name);
      if (this.asText(field, value) === this.asText(field, this.values[name]?.value)) this.typed.delete(name);
    }
    this.paint();
    this.onState();
  }

  drop() { this.typed.clear(); this.paint(); this.onState(); }

  paint() { for (const name of this.controls.keys()) this.paintOne(name); }

  paintOne(name) {
    const field = this.fields.get(name), { box, input, source } = this.controls.get(name);
    const stands = this.values[name], isTyped = this.typed.has(name);
    if (document.activeElement !== input || !isTyped) {
      const text = this.asText(field, isTyped ? this.typed.get(name) : stands?.value);
      if (input.value !== text) input.value = text;
    }
    if (input.tagName === "INPUT") input.placeholder = this.placeholder(field);
    box.classList.toggle("typed", isTyped);
    source.textContent = isTyped ? (stands ? `was ${this.asText(field, stands.value)}` : "was not set") : stands ? stands.comment || "set" : name in this.elsewhere ? "from profile.toml" : "default";
    source.title = stands ? "from maquette.toml" : "";
    source.classList.toggle("set", Boolean(stands) && !isTyped);
  }

  // --- what is said of them

  quiet(name) {
    const { said, box, input } = this.controls.get(name);
    said.replaceChildren();
    box.classList.remove("wrong");
    input.removeAttribute("aria-invalid");
  }

  remark(answer) {
    this.answer = answer;
    for (const name of this.controls.keys()) this.quiet(name);
    const loose = [];
    for (const each of answer.problems) {
      const control = this.controls.get(each.setting);
      const line = made("li", "error", each.required ? `${each.given}: this must be ${each.required}.` : `${each.given}. ${each.remedy}`);
      if (!control) { if (each.setting) loose.push(made("li", "error", `${each.setting}: ${each.given}, but must be ${each.required}. ${each.remedy}`)); continue; }
      control.said.append(line);
      control.box.classList.add("wrong");
      control.input.setAttribute("aria-invalid", "true");
    }
    for (const each of answer.findings) {
      const line = withCode(made("li", each.severity), `${each.message} ${each.remedy} `);
      line.append(made("code", "", each.code));
      const control = this.controls.get(each.setting);
      if (control) control.said.append(line);
      else {
        if (each.setting) line.prepend(made("b", "", `${each.setting}: `));
        if (each.severity !== "hint") loose.push(line);
      }
    }
    at("elsewhere-findings").replaceChildren(...loose);
  }
}
