// The Plan page: the sum, checkpoints, memory, time and disk of the next run; what to change where it does not fit.

import { Settings } from "./settings.js";
import { changed, get, made, post, toast, told, withCode } from "./talk.js";

const root = document.querySelector(".plan");
const api = `/api/p/${root.dataset.project}`;
const at = (id) => document.getElementById(id);
const PARTS = ["program", "denoiser", "text encoders", "VAE", "LoRA", "LoRA gradients", "optimizer", "average", "activations", "working space"];
const STAGES = { load: "loading the base", encode: "encoding pictures", train: "training", samples: "drawing samples" };
let asked = 0, changedSomething = false, isMeasuring = false;

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });
const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

function offer(text, label, about, act) {
  const line = made("li", ""), words = made("div", "grow");
  words.append(made("b", "", text));
  if (about) words.append(made("p", "soft", about));
  const button = made("button", "", label, { type: "button" });
  button.addEventListener("click", act);
  line.append(words, button);
  return line;
}

// --- the plan

async function tryOut(changes) {
  const mine = ++asked;
  changedSomething = Object.keys(changes).length > 0;
  try {
    const answer = await post(`${api}/try-settings`, { changes, measure: false });
    if (mine !== asked) return;
    isMeasuring = !changedSomething && Boolean(answer.plan) && !answer.plan.time;
    shown(answer);
    if (isMeasuring) {
      const measured = await post(`${api}/try-settings`, { changes, measure: true });
      if (mine !== asked) return;
      isMeasuring = false;
      shown(measured);
    }
    if (!changedSomething) changed();
  } catch (error) { if (mine === asked) told(error); }
}

function shown(answer) {
  settings.remark(answer);
  const loose = answer.problems.filter((each) => !each.setting);
  at("problems").replaceChildren(...loose.map((each) => made("li", "", `${each.where}: ${each.given}. ${each.remedy}`)));
  const plan = answer.plan;
  at("train").classList.toggle("off-duty", !plan);
  if (!plan) {
    at("plan-told").textContent = answer.problems.length ? `It cannot start as it is: ${counted(answer.problems.length, "thing")} to put right.` : "";
    root.classList.add("stale");
    at("train").textContent = "Train";
    return;
  }
  root.classList.remove("stale");
  at("planned").hidden = false;
  const { words } = plan;
  at("plan-told").textContent = headline(plan, answer);
  at("train").textContent = ["Train", counted(plan.steps, "step"), words.time && `about ${words.time}`, words.peak, `${words.disk} on disk`].filter(Boolean).join(" · ");
  sum(plan);
  saves(plan);
  memory(plan);
  at("time").textContent = words.time ? `about ${words.time}` : isMeasuring ? "measuring…" : "not known yet";
  at("time-told").textContent = words.time ? `${words.time_range[0]} to ${words.time_range[1]}; ${words.step} a step, from ${plan.time.source}. ${words.too_long || ""}` : isMeasuring ? "This computer's speed is measured for about two seconds." : changedSomething ? "Worked out when the changes are saved." : `Nothing tells how long a step takes on ${plan.device.name}.`;
  at("disk").textContent = words.disk;
  at("disk-told").textContent = `${words.disk_free ? `Of ${words.disk_free} free. ` : ""}${Object.entries(words.disk_parts).map(([name, size]) => `${name} ${size}`).join(", ")}.`;
  at("advice").replaceChildren(...plan.advice.map((text) => withCode(made("li"), text)));
  presets(plan);
}

function headline(plan, answer) {
  const errors = answer.findings.filter((each) => each.severity === "error").length;
  const fit = plan.memory.fits ? "It fits" : plan.memory_bytes <= (plan.memory.available_bytes ?? Infinity) ? "It may not fit" : "It does not fit";
  const where = `${fit} ${plan.words.available ? `into the ${plan.words.available} of ${plan.device.name === "cpu" ? "this computer" : plan.device.name}` : "as far as is known"}`;
  const much = [counted(plan.steps, "step"), counted(plan.saves.length, "checkpoint"), plan.words.time && `about ${plan.words.time}`].filter(Boolean).join(", ");
  return `${changedSomething ? "With your changes: " : ""}${much}. ${where}.${errors ? ` The rules object: ${counted(errors, "error")}.` : ""}`;
}

function sum(plan) {
  const terms = [];
  for (const [pictures, repeats] of plan.terms.slice(0, 4)) {
    if (terms.length) terms.push(["+", "", ""]);
    terms.push(["", number(pictures), pictures === 1 ? "picture" : "pictures"], ["×", number(repeats), repeats === 1 ? "time an epoch" : "times an epoch"]);
  }
  if (plan.terms.length > 4) terms.push(["+", number(plan.terms.length - 4), "more folders"]);
  if (plan.regularization_items) terms.push(["+", number(plan.regularization_items), "of the class"]);
  terms.push(["÷", plan.batch, "a batch"]);
  if (plan.accumulation > 1) terms.push(["÷", number(plan.accumulation), "batches a step"]);
  terms.push(["=", number(plan.steps_per_epoch), plan.steps_per_epoch === 1 ? "step an epoch" : "steps an epoch"]);
  terms.push(["×", number(plan.by_steps ? plan.steps / plan.steps_per_epoch : plan.epochs), "epochs"], ["=", number(plan.steps), plan.steps === 1 ? "step" : "steps", "whole"]);
  at("terms").replaceChildren(...terms.map(([sign, value, name, className = ""]) => {
    const line = made("li", className);
    if (sign) line.append(made("span", "sign", sign));
    if (value) {
      const term = made("span", "term");
      term.append(made("b", "", value), made("small", "", name));
      line.append(term);
    }
    return line;
  }));
  at("sum").textContent = plan.sum;
  const [low, high] = plan.target_steps;
  at("proposals").replaceChildren(...plan.proposals.filter((each) => each.how.startsWith("--")).map((each) =>
    offer(`${each.setting} = ${each.value}: ${counted(each.steps, "step")}`, "Set", `${number(low)} to ${number(high)} steps suit ${counted(plan.pictures, "picture")}. ${each.sum}`, () => apply({ [each.setting]: each.value }, `${each.setting} ${each.value}`))));
}

function saves(plan) {
  at("saves-told").textContent = `${counted(plan.saves.length, "file")} of ${plan.words.checkpoint}, each a choice at the end.`;
  const marks = plan.saves.map((each) => {
    const mark = made("i", each.final ? "final" : "", "", { title: `step ${number(each.step)}, epoch ${each.epoch}: ${each.name}` });
    mark.style.left = `${(100 * each.step) / plan.steps}%`;
    return mark;
  });
  const labels = plan.saves.length <= 10 ? plan.saves : plan.saves.filter((each, place) => each.final || place % Math.ceil(plan.saves.length / 8) === 0);
  let last = -Infinity;
  const texts = labels.filter((each) => {
    const share = (100 * each.step) / plan.steps;
    const fits = each.final || (share - last > 7 && share < 92);
    if (fits) last = share;
    return fits;
  }).map((each) => {
    const text = made("span", each.final ? "final" : "", number(each.step));
    text.style.left = `${(100 * each.step) / plan.steps}%`;
    return text;
  });
  at("line").replaceChildren(...marks, ...texts);
  at("line").setAttribute("aria-label", `Checkpoints after steps ${plan.saves.slice(0, 20).map((each) => each.step).join(", ")}${plan.saves.length > 20 ? " and more" : ""} of ${plan.steps}`);
  at("save-more").replaceChildren(...(plan.save_more ? [offer(`Save every ${plan.save_more} steps`, "Set", "The best checkpoint is often at half to two thirds of the way.", () => apply({ save_every_steps: plan.save_more }, `a checkpoint every ${plan.save_more} steps`))] : []));
}

function memory(plan) {
  const { words } = plan, have = plan.memory.available_bytes;
  const scale = Math.max(plan.memory.needed_bytes, have ?? 0) * (have && have >= plan.memory.needed_bytes ? 1 : 1.04);
  const entries = Object.entries(plan.memory.parts).filter(([, size]) => size > 0);
  const total = entries.reduce((all, [, size]) => all + size, 0);
  const peak = plan.memory_bytes;
  const segments = entries.map(([name, size]) => {
    const segment = made("i", `part-${Math.max(0, PARTS.indexOf(name))}`, "", { title: `${name}: ${words.parts[name]}` });
    segment.style.width = `${(100 * size) / scale}%`;
    return segment;
  });
  if (peak > total) segments.push(wide("rest", peak - total, `more while ${STAGES[plan.memory.stage]}`, scale));
  segments.push(wide("error", plan.memory.needed_bytes - peak, `how far the figure may be off: ± ${Math.round(100 * plan.memory.share_off)} %`, scale));
  const bar = made("div", "bar-of-parts");
  bar.append(...segments);
  const pieces = [bar];
  if (have) {
    const limit = made("div", "limit");
    limit.style.left = `${(100 * have) / scale}%`;
    limit.append(made("span", have / scale > 0.5 ? "before" : "", words.available));
    pieces.push(limit);
  }
  at("memory").replaceChildren(...pieces);
  at("memory").classList.toggle("over", !plan.memory.fits);
  at("memory").setAttribute("aria-label", `${words.peak} at the peak${words.available ? ` of ${words.available}` : ""}: ${entries.map(([name]) => `${name} ${words.parts[name]}`).join(", ")}`);
  at("memory-told").textContent = `${words.peak} at the peak, up to ${words.needed}${words.available ? `, of ${words.available} (${plan.device.memory_source})` : ` (${plan.device.memory_source})`}. The peak comes while ${STAGES[plan.memory.stage]}; ${plan.memory.note}.`;
  at("parts").replaceChildren(...entries.map(([name]) => {
    const line = made("li", "");
    line.append(made("i", `part-${Math.max(0, PARTS.indexOf(name))}`), `${name} `, made("b", "", words.parts[name]));
    return line;
  }));
  at("remedies").hidden = plan.memory.fits || !plan.changes.length;
  at("even-so").hidden = plan.memory.fits || plan.fits_after_changes;
  at("changes").replaceChildren(...plan.changes.map((each, place) => {
    const [before, after, saved] = words.changes[place];
    const line = offer(`${each.name}: ${each.applies ? `${before} → ${after}` : `would save ${saved}`}`, "Set", each.cost, () => apply(each.values, each.name));
    if (!each.applies) line.querySelector("button").replaceWith(made("span", "soft", "not in Maquette"));
    return line;
  }));
  if (plan.changes.filter((each) => each.applies).length > 1) at("changes").append(offer("All of them", "Set all", "", () => apply(Object.assign({}, ...plan.changes.map((each) => each.values)), "what makes it fit")));
}

function wide(className, size, title, scale) {
  const segment = made("i", className, "", { title });
  segment.style.width = `${(100 * size) / scale}%`;
  return segment;
}

function presets(plan) {
  at("presets-part").hidden = !plan.suiting.length;
  at("presets").replaceChildren(...plan.suiting.map((each) => {
    const line = offer(each.title, "Use these", each.source, () => usePreset(each.name));
    const all = made("details", "");
    const list = made("dl", "");
    for (const [name, entry] of Object.entries(each.settings)) list.append(made("dt", "", `${name} = ${JSON.stringify(entry.value)}`), made("dd", "soft", entry.reason));
    all.append(made("summary", "", `${each.name}: ${counted(Object.keys(each.settings).length, "setting")}`), list);
    line.firstChild.append(all);
    return line;
  }));
}

// --- changing settings

async function apply(changes, what) {
  if (settings.isDirty && !(await save())) return;
  await written(() => post(`${api}/settings`, { changes, expected: settings.mark, what }), `Set: ${what}.`);
}

const usePreset = async (name) => {
  if (settings.isDirty && !(await save())) return;
  await written(() => post(`${api}/use-preset`, { name, expected: settings.mark }), `The settings of ${name} are used.`);
};

async function save() {
  return written(() => post(`${api}/settings`, { changes: settings.changes, expected: settings.mark, what: "" }), "Saved.");
}

async function written(ask, said) {
  at("save").disabled = true;
  try {
    const answer = await ask();
    if (answer.changed_since) {
      settings.take(answer, true);
      toast("The settings were changed elsewhere since this page read them. What you typed is still here, over what stands there now: look, then save again.", "bad");
      await tryOut(settings.changes);
      return false;
    }
    settings.take(answer);
    toast(answer.changed.length ? said : "Nothing was different.");
    await tryOut({});
    return true;
  } catch (error) {
    told(error);
    return false;
  } finally { at("save").disabled = false; unsaved(); }
}

function unsaved() {
  const names = Object.keys(settings.changes);
  at("unsaved").hidden = !names.length;
  at("unsaved-told").textContent = `Not saved: ${names.slice(0, 4).map(settings.titleOf).join(", ")}${names.length > 4 ? ` and ${names.length - 4} more` : ""}.`;
  at("undo").hidden = !settings.undo;
  at("undo").textContent = `Undo ${settings.undo}`;
}

const settings = new Settings({ onTyped: () => tryOut(settings.changes), onState: unsaved });

at("save").addEventListener("click", save);
at("form").addEventListener("submit", (event) => { event.preventDefault(); if (settings.isDirty) save(); });
at("drop").addEventListener("click", () => { settings.drop(); tryOut({}); });
at("undo").addEventListener("click", async () => {
  try {
    const answer = await post(`${api}/undo-settings`);
    settings.take(answer, settings.isDirty);
    toast(answer.kept || (answer.what ? `Taken back: ${answer.what}.` : "There is nothing to take back."));
    await tryOut(settings.changes);
  } catch (error) { told(error); }
});
addEventListener("beforeunload", (event) => { if (settings.isDirty) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "s") { event.preventDefault(); if (settings.isDirty) save(); }
});

get(`${api}/settings`).then(async (answer) => {
  settings.build(answer);
  if (answer.kept) shown(answer.kept);
  settings.goTo(location.hash);
  await tryOut({});
}, (error) => { at("plan-told").textContent = "The settings cannot be read:"; at("problems").replaceChildren(made("li", "", error.message)); at("settings").hidden = true; });
