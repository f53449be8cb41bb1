// Curves in the page's own colours, light and dark; the library is loaded beside this and may come later.

const PLAIN = { displayModeBar: false, responsive: true };

export const colour = (name, of = document.documentElement) => getComputedStyle(of).getPropertyValue(name).trim();

export function smoothed(values, share) {
  const width = Math.max(1, Math.round(values.length * share));
  let sum = 0;
  return values.map((value, place) => {
    sum += value;
    if (place >= width) sum -= values[place - width];
    return sum / Math.min(place + 1, width);
  });
}

// Draw `make()`'s lines into a box: { lines, layout, empty }. Called again whenever something changed.
export function drawn(box, make) {
  if (!window.Plotly) return addEventListener("load", () => drawn(box, make), { once: true });
  const { lines, layout } = make();
  box.hidden = !lines.length;
  if (!lines.length) return;
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), tickcolor: colour("--line"), automargin: true };
  window.Plotly.react(box, lines, {
    margin: { l: 52, r: 12, t: 8, b: 38 }, height: 320, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--soft"), size: 12 }, legend: { orientation: "h", y: 1.14 }, showlegend: true, uirevision: "same",
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  }, PLAIN);
}

export function whenColoursChange(draw) { matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw); }
