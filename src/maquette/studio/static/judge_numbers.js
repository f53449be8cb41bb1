// What the drawings are worth: a chart and a line of a table for each measure, the losses, and the nearest training pictures.

import { pathOf, worded } from "./talk.js";

const at = (id) => document.getElementById(id);
const make = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
const MOST_PAIRS = 8;
const pending = new Map();
let known = "", knownPairs = "", redraws = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting && pending.has(entry.target)) { const draw = pending.get(entry.target); pending.delete(entry.target); sight.unobserve(entry.target); whenReady(draw); }
}, { rootMargin: "300px" });

function whenReady(draw) { if (window.Plotly) draw(); else addEventListener("load", draw, { once: true }); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));

export function drawNumbers(numbers, chosen) {
  const key = JSON.stringify([numbers, chosen]);
  if (key === known) return;
  known = key;
  redraws = [];
  pending.clear();
  const weights = Object.entries(numbers.weights).map(([name, weight]) => `${name} ${weight}`).join(", ");
  const totals = { name: "total", title: "Score", definition: `All that counts, by weights of ${weights}.`, direction: "higher", low: 0, high: 1, floor: null, ceiling: null, scores: Object.fromEntries(numbers.columns.filter((each) => each.total).map((each) => [each.label, each.total])) };
  const parts = [...(Object.keys(totals.scores).length ? [totals] : []), ...numbers.headlines];
  at("charts").replaceChildren(...parts.map((part, place) => chart(part, numbers.columns, chosen, place === 0 && part === totals)));
  const failing = numbers.columns.filter((each) => each.failures.length);
  at("failures").replaceChildren(...failing.map((each) => make("li", `${each.label} fails a floor: ${each.failures.join("; ")}. A score never hides that.`)));
  at("notes").replaceChildren(...numbers.notes.map((text) => { const line = make("li"); line.append(...worded(text)); return line; }));
  at("notes-part").hidden = !numbers.notes.length;
  table(parts, numbers.columns, chosen);
}

const says = (value, signed) => value === null || value === undefined ? "–" : `${signed && value > 0 ? "+" : ""}${value.toFixed(3)}`;

function table(parts, columns, chosen) {
  const head = document.createElement("tr");
  head.append(make("th", "Measure", { scope: "col" }), ...columns.map((each) => make("th", each.label + (each.label === chosen ? " (chosen)" : ""), { scope: "col" })));
  at("table").replaceChildren(head, ...parts.map((part) => {
    const row = document.createElement("tr"), name = make("th", part.title, { scope: "row" });
    name.append(make("small", part.direction === "higher" ? "more is better" : "less is better"));
    row.append(name, ...columns.map((each) => {
      const score = part.scores[each.label], cell = make("td", score ? says(score.mean) : "–");
      if (score && score.low !== null) cell.append(make("small", `${says(score.low)} – ${says(score.high)}`));
      return cell;
    }));
    return row;
  }));
}

function chart(part, columns, chosen, first) {
  const figure = make("figure", "", { className: `panel card-chart${first ? " first" : ""}` });
  const caption = document.createElement("figcaption"), plot = make("div", "", { className: "chart" });
  const best = part.direction === "higher" ? "more is better" : "less is better";
  caption.append(make("b", part.title), make("small", first ? part.definition : `${best}${part.aspect ? `; counts towards ${part.aspect}` : "; it warns"}`));
  caption.title = `${part.definition}${part.blind_to ? ` Blind to ${part.blind_to}.` : ""}`;
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${part.title}: ${columns.filter((each) => part.scores[each.label]).map((each) => `${each.label} ${says(part.scores[each.label].mean)}`).join("; ")}`);
  figure.append(caption, plot);
  const draw = () => plotScores(plot, part, columns, chosen, first);
  redraws.push(() => { if (plot.data) draw(); });
  pending.set(plot, draw);
  sight.observe(plot);
  return figure;
}

function plotScores(plot, part, columns, chosen, first) {
  const strengths = [...new Set(columns.filter((each) => each.file).map((each) => each.strength))];
  const palette = ["--accent", "--second", "--good", "--warn"];
  const traces = strengths.map((strength, place) => {
    const those = columns.filter((each) => each.file && each.strength === strength && part.scores[each.label]);
    const scores = those.map((each) => part.scores[each.label]);
    return {
      x: those.map((each) => each.step), y: scores.map((score) => score.mean), text: those.map((each) => each.label), name: `strength ${strength}`, mode: "lines+markers",
      hovertemplate: "%{text}: %{y:.3f}<extra></extra>", line: { color: colour(palette[place % palette.length]), width: 2 },
      marker: { size: those.map((each) => each.label === chosen ? 13 : 7), symbol: those.map((each) => each.label === chosen ? "diamond" : "circle"), color: colour(palette[place % palette.length]) },
      error_y: { type: "data", symmetric: false, array: scores.map((score) => score.high === null ? 0 : score.high - score.mean), arrayminus: scores.map((score) => score.low === null ? 0 : score.mean - score.low), thickness: 1.3, width: 4, color: colour(palette[place % palette.length]) },
    };
  });
  const rule = (value, dash) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: colour("--soft"), width: 1.4, dash } });
  const base = part.floor ?? (first ? part.scores[columns.find((each) => !each.file)?.label]?.mean : null);
  const shapes = [...(typeof base === "number" ? [rule(base, "dot")] : []), ...(typeof part.ceiling === "number" ? [rule(part.ceiling, "dash")] : [])];
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickcolor: colour("--line"), automargin: true };
  const seen = traces.flatMap((trace) => trace.y.flatMap((mean, place) => [mean - trace.error_y.arrayminus[place], mean + trace.error_y.array[place]]));
  const all = [...seen, ...shapes.map((each) => each.y0)], range = rangeOf(Math.min(...all), Math.max(...all), part);
  window.Plotly.react(plot, traces, {
    margin: { l: 44, r: 10, t: 8, b: 30 }, height: first ? 270 : 190, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--soft"), size: 11 }, shapes,
    xaxis: { ...axis, title: first ? { text: "step" } : undefined }, yaxis: { ...axis, range }, showlegend: first && strengths.length > 1, legend: { orientation: "h", y: 1.15 },
  }, { displayModeBar: false, responsive: true });
}

// Wide enough that what differs by nothing is not drawn as a cliff, and hardly beyond the measure's own ends.
function rangeOf(low, high, part) {
  const scale = part.high - part.low, room = Math.max(0.08 * (high - low), (0.1 * scale - (high - low)) / 2);
  return [Math.max(part.low - 0.04 * scale, low - room), Math.min(part.high + 0.04 * scale, high + room)];
}

export function drawLoss(run) {
  at("loss").hidden = !run.curve.step.length || !run.drawings;
  if (at("loss").hidden) return;
  const draw = () => {
    const held = run.validation?.measured_on === "held-out";
    const lines = [{ x: run.curve.step, y: smoothed(run.curve.loss), name: "training loss, smoothed", mode: "lines", line: { color: colour("--accent"), width: 2.2 } }];
    if (run.validation) lines.push({ x: run.validation.step, y: run.validation.loss, name: held ? "held-out pictures" : "validation", mode: "lines+markers", line: { color: colour("--second"), width: 2.2 } });
    const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickcolor: colour("--line"), automargin: true };
    const step = run.choice?.step, shapes = typeof step === "number" ? [{ type: "line", yref: "paper", y0: 0, y1: 1, x0: step, x1: step, line: { color: colour("--soft"), width: 1.4, dash: "dot" } }] : [];
    window.Plotly.react(at("loss-plot"), lines, { margin: { l: 52, r: 12, t: 8, b: 38 }, height: 255, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--soft"), size: 12 }, xaxis: { ...axis, title: { text: "step" } }, yaxis: axis, legend: { orientation: "h", y: 1.14 }, showlegend: true, shapes }, { displayModeBar: false, responsive: true });
  };
  redraws.push(draw);
  pending.set(at("loss-plot"), draw);
  sight.unobserve(at("loss-plot"));
  sight.observe(at("loss-plot"));
}

function smoothed(values) {
  const width = Math.max(1, Math.round(values.length * 0.06));
  let sum = 0;
  return values.map((value, place) => { sum += value; if (place >= width) sum -= values[place - width]; return sum / Math.min(place + 1, width); });
}

// Those of the chosen checkpoint that come nearest, each beside what it resembles.
export function drawPairs(run, api) {
  const label = run.choice?.label ?? run.drawings?.columns.at(-1)?.label;
  const column = run.drawings?.columns.findIndex((each) => each.label === label) ?? -1;
  const own = new Map((run.drawings?.rows ?? []).map((row) => [row.pictures[column], row]));
  const shown = run.nearest.filter((each) => own.has(each.drawn)).slice(0, MOST_PAIRS);
  at("copies").hidden = !shown.length;
  const key = JSON.stringify([run.name, label, shown]);
  if (key === knownPairs || !shown.length) return;
  knownPairs = key;
  at("copies-told").textContent = `Of ${label}: the drawing, and the picture that it was trained on which it resembles most. 1.00 is the same.`;
  at("pairs").replaceChildren(...shown.map((each) => {
    const row = own.get(each.drawn), figure = make("figure", "", { className: "panel pair" }), two = document.createElement("div");
    for (const [from, alt, words] of [[`${api}/thumbnail/384/${pathOf(each.drawn)}`, `drawn by ${label}`, "drawn"], [`${api}/nearest/384/${pathOf(each.drawn)}`, `training picture ${each.training}`, each.training]]) {
      const box = document.createElement("span"), image = new Image();
      image.loading = "lazy";
      image.alt = alt;
      image.onload = () => image.classList.toggle("tiny", image.naturalWidth <= 128);
      image.src = from;
      if (words !== "drawn" && each.is_mirrored) image.classList.add("is-mirrored");
      box.append(image, words === "drawn" ? words : `${words}${each.is_mirrored ? ", mirrored" : ""}`);
      two.append(box);
    }
    const prompt = run.drawings.prompts[row.prompt].text;
    figure.append(two, make("figcaption", `${each.likeness.toFixed(2)} · ${prompt || "(no prompt)"}, seed ${row.seed}`));
    return figure;
  }));
}
