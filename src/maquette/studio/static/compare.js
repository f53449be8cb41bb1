import { colour, drawn, smoothed, whenColoursChange } from "./curves.js";
import { element } from "./spoken.js";
import { get, post, saying, toast, told } from "./talk.js";

const root = document.querySelector(".compare");
const at = (id) => document.getElementById(id);
const api = `/api/p/${root.dataset.project}`;
const SMOOTHED = 0.06, MOST_LINES = 12;
const SIDES = ["a", "b"];
let found = null;

at("pair")?.addEventListener("change", () => at("pair").submit());
addEventListener("pageshow", () => at("pair")?.reset());  // who comes back sees the runs that the page shows
at("swap")?.addEventListener("click", () => {
  const [a, b] = at("pair").querySelectorAll("select");
  [a.value, b.value] = [b.value, a.value];
  at("pair").submit();
});

const text = (tag, words, className = "") => element(tag, { textContent: words, className });
const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

function value(given) {
  if (given === null || given === undefined || given === "") return "not set";
  if (Array.isArray(given)) return given.map(value).join(", ") || "none";
  if (typeof given === "object") return JSON.stringify(given);
  if (typeof given === "boolean") return given ? "yes" : "no";
  return String(given).replace(/^sha256:([0-9a-f]{12})[0-9a-f]*$/, "$1…");
}

// A long list shows its beginning, the rest on a press.
function listed(list, lines) {
  list.append(...lines.slice(0, MOST_LINES));
  if (lines.length > MOST_LINES) {
    const more = element("button", { type: "button", textContent: `${lines.length - MOST_LINES} more` });
    const last = element("li", { className: "more" }, more);
    more.addEventListener("click", () => { last.replaceWith(...lines.slice(MOST_LINES)); });
    list.append(last);
  }
  return list;
}

// --- what was changed

function table(title, rows) {
  if (!rows.length) return [];
  const body = rows.map((row) => element("tr", {}, element("th", { scope: "row" }, text("code", row.name)), text("td", value(row.a)), text("td", value(row.b))));
  const head = element("thead", {}, element("tr", {}, text("th", title), text("th", "A"), text("th", "B")));
  for (const cell of head.querySelectorAll("th")) cell.scope = "col";
  return [element("table", { className: "changes" }, head, element("tbody", {}, ...body))];
}

function caption(each) {
  const words = each.pieces.map(([kind, piece]) => kind === "same" ? piece : element(kind === "gone" ? "del" : "ins", { textContent: piece }));
  const line = element("li", { className: "caption" });
  line.append(each.picture ? picture(each.picture, "") : element("span", { className: "gap" }), element("div", {}, text("b", each.name), element("p", {}, ...words)));
  return line;
}

const picture = (address, alt) => {
  const image = element("img", { alt, loading: "lazy", src: address });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 160));
  return image;
};

const CHANGES = { added: "added", removed: "removed", changed: "edited", renamed: "renamed", mask: "mask edited" };

function pictureLine(each) {
  const shown = SIDES.filter((side) => each[side]).map((side) => picture(each[side], `${each.name}, ${side.toUpperCase()}`));
  const isSeen = each.change === "renamed" || each.change === "mask" || shown.length;
  const about = each.change === "renamed" ? `was ${each.from}` : each.caption;
  return element("li", { className: `changed-picture ${each.change}` }, ...shown, isSeen ? "" : text("span", "not there any more", "gone soft"),
    element("div", {}, text("span", CHANGES[each.change], "state"), text("b", each.name), text("p", about, "soft")));
}

function changed() {
  const parts = [[found.settings, "setting"], [found.captions, "caption"], [found.pictures, "picture"], [found.environment, "thing in the environment", "things in the environment"]];
  const counts = parts.filter(([rows]) => rows.length).map(([rows, one, many]) => counted(rows.length, one, many));
  at("changed-told").textContent = counts.length ? counts.join(", ") : "Nothing: the same was trained, in the same environment.";
  at("changed").append(...table("Setting", found.settings));
  if (found.captions.length) {
    at("changed").append(text("h3", "Captions, word by word"));
    const words = found.words.slice(0, 8).map((each) => element("li", {}, element(each.come > each.gone ? "ins" : "del", { textContent: each.words }), text("span", each.come && each.gone ? ` out of ${each.gone}, into ${each.come}` : each.come ? ` into ${counted(each.come, "caption")}` : ` out of ${counted(each.gone, "caption")}`, "soft")));
    at("changed").append(element("ul", { className: "words" }, ...words), listed(element("ul", { className: "plain" }), found.captions.map(caption)));
  }
  if (found.pictures.length) at("changed").append(text("h3", "Pictures, by what they hold"), listed(element("ul", { className: "plain pictures" }), found.pictures.map(pictureLine)));
  at("changed").append(...table("Environment", found.environment), ...table("Schedule", found.schedule), ...table("Names and places", found.places));
  if (found.unknown.length) at("changed").append(text("h3", "Not compared"), element("ul", { className: "soft" }, ...found.unknown.map((each) => text("li", each))));
}

// --- what it did

const number = (given, digits = 3) => given.toFixed(digits);
const interval = (each) => each.low === null ? number(each.value) : `${number(each.value)} (${number(each.low)} to ${number(each.high)})`;
const signed = (given) => `${given < 0 ? "−" : "+"}${Math.abs(given).toFixed(3)}`;

function scale(row) {
  const ends = SIDES.flatMap((side) => row[side] ? [row[side].low ?? row[side].value, row[side].high ?? row[side].value] : []);
  const low = Math.min(...ends), room = Math.max(...ends) - low || 1;
  const place = (given) => `${4 + 92 * (given - low) / room}%`;
  const box = element("div", { className: "intervals" });
  box.setAttribute("aria-hidden", "true");
  for (const side of SIDES.filter((each) => row[each])) {
    const line = element("i", { className: side }), point = element("b", { className: side });
    line.style.left = place(row[side].low ?? row[side].value);
    line.style.right = `calc(100% - ${place(row[side].high ?? row[side].value)})`;
    point.style.left = place(row[side].value);
    box.append(element("div", {}, line, point));
  }
  return box;
}

function scoreRow(row) {
  const numbers = element("p", { className: "numbers" });
  for (const side of SIDES) numbers.append(element("span", {}, text("b", side.toUpperCase(), `letter ${side}`), row[side] ? interval(row[side]) : "not measured"));
  const parts = [element("h3", {}, row.title), scale(row), numbers];
  if (row.difference) {
    const { value: change, low, high } = row.difference;
    const between = low === null ? "" : ` (95 % between ${signed(low)} and ${signed(high)})`;
    parts.push(element("p", { className: "difference" }, text("b", signed(change), row.is_clear ? "clear" : ""), text("span", `${between}${row.is_clear ? "" : low === null ? "" : ": cannot tell"}`, "soft")));
  }
  return element("li", { className: row.name === "score" ? "total" : "" }, ...parts);
}

function did() {
  const facts = found.runs[0].facts.map(([name, a], place) => ({ name, a, b: found.runs[1].facts[place][1] }));
  const head = element("thead", {}, element("tr", {}, element("td"), ...found.runs.map((run, place) => element("th", { scope: "col" }, text("b", SIDES[place].toUpperCase(), `letter ${SIDES[place]}`), run.name))));
  const rows = facts.map((row) => element("tr", { className: row.a === row.b ? "alike" : "" }, element("th", { scope: "row", textContent: row.name }), text("td", row.a), text("td", row.b)));
  at("did").append(element("table", { className: "changes facts-table" }, head, element("tbody", {}, ...rows)));
  for (const run of found.runs.filter((each) => !each.judged)) {
    const way = element("a", { href: `/p/${run.key}/judge?run=${encodeURIComponent(run.name)}`, textContent: "Judge it" });
    at("did").append(element("p", { className: "unjudged" }, text("b", run.name), " was not judged, so nothing is known of what it draws. ", way, ", or ", text("code", run.command), "."));
  }
  if (found.scores.length) at("did").append(element("ul", { className: "plain scores" }, ...found.scores.map(scoreRow)));
  for (const run of found.runs.filter((each) => each.suspicions.length)) at("did").append(element("h3", {}, `Against ${run.name}`), element("ul", {}, ...run.suspicions.map((each) => element("li", {}, text("b", `${each.kind}: `), each.told, " ", text("span", each.remedy, "soft")))));
}

// --- losses, drawings

function lines() {
  const of = (run, place) => {
    const tone = colour(place ? "--accent" : "--second"), name = `${SIDES[place].toUpperCase()} ${run.name}`;
    const curve = { x: run.curve.step, y: smoothed(run.curve.loss, SMOOTHED), name, mode: "lines", line: { color: tone, width: 2.2 } };
    const held = run.validation && { x: run.validation.step, y: run.validation.loss, name: `${name}, held out`, mode: "lines+markers", line: { color: tone, width: 1.6, dash: "dot" } };
    return [run.curve.step.length ? curve : null, held].filter(Boolean);
  };
  return { lines: found.runs.flatMap(of), layout: { xaxis: { title: { text: "step" } } } };
}

function drawing(row) {
  const panes = SIDES.map((side, place) => element("figure", {}, row[side] ? picture(row[side], `${row.prompt}, seed ${row.seed}, ${found.runs[place].name}`) : text("span", "not drawn", "gone soft"), text("figcaption", side.toUpperCase(), `letter ${side}`)));
  const button = element("button", { type: "button" }, ...panes);
  button.addEventListener("click", () => {
    for (const [place, side] of SIDES.entries()) {
      const image = at(`large-${side}`);
      image.hidden = !row[side];
      image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 160);
      if (row[side]) image.src = row[side];
      image.alt = `${row.prompt}, seed ${row.seed}`;
      image.nextElementSibling.textContent = found.runs[place].name;
    }
    at("zoom").showModal();
  });
  return element("li", {}, button, text("p", `${row.prompt} · seed ${row.seed}`, "soft"));
}
at("zoom").addEventListener("click", () => at("zoom").close());

// --- the notebook

function book(run, place) {
  const form = at("book").content.firstElementChild.cloneNode(true);
  const title = form.querySelector("h3"), amending = form.querySelector(".amending");
  title.append(text("b", SIDES[place].toUpperCase(), `letter ${SIDES[place]}`), run.name, text("span", "", "state"));
  let amends = 0;
  const fill = ({ verdict, notes }) => {
    title.querySelector(".state").textContent = verdict || "undecided";
    title.querySelector(".state").className = `state ${{ kept: "done", rejected: "failed" }[verdict] || ""}`;
    form.querySelector(".written").replaceChildren(...notes.map((each) => {
      const line = element("li", { className: each.amended ? "amended" : "", value: each.number });
      line.append(each.verdict ? text("b", `${each.verdict}: `) : "", each.text, text("time", ` ${each.time.slice(0, 10)}`, "soft"));
      if (each.amended) line.append(text("span", " (taken back)", "soft"));
      else {
        const again = element("button", { type: "button", className: "quiet", textContent: "Correct" });
        again.setAttribute("aria-label", `Correct note ${each.number}`);
        again.addEventListener("click", () => { amends = each.number; form.elements.text.value = each.text; form.elements.verdict.value = each.verdict || ""; amending.textContent = `takes the place of note ${amends}`; form.elements.text.focus(); });
        line.append(" ", again);
      }
      return line;
    }));
  };
  fill(run);
  form.elements.text.setAttribute("aria-label", `Why, about ${run.name}`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      fill(await post(`/api/p/${run.key}/run/${encodeURIComponent(run.name)}/note`, { text: form.elements.text.value, verdict: form.elements.verdict.value, amends }));
      amends = 0;
      amending.textContent = "";
      form.elements.text.value = form.elements.verdict.value = "";
      toast("Written down.");
    } catch (error) { told(error); }
  });
  return form;
}

async function load() {
  const { a, b } = root.dataset;
  try {
    found = await get(`${api}/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`);
  } catch (error) {
    at("wait").textContent = saying(error);
    at("wait").className = "bad";
    return;
  }
  at("wait").hidden = true;
  at("found").hidden = false;
  at("notes").append(...found.notes.map((each) => text("li", each)));
  changed();
  did();
  at("drawings-part").hidden = !found.drawings.length;
  at("drawings").append(...found.drawings.map(drawing));
  at("loss-part").hidden = !lines().lines.length;
  drawn(at("plot"), lines);
  whenColoursChange(() => drawn(at("plot"), lines));
  at("books").append(...found.runs.map(book));
}
if (at("found")) load();
