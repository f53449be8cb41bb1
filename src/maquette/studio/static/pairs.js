// Copies, mirror images and whatever else was told from another picture: both beside one another, and one word about them.

const MOST = 300;
const make = (tag, more = {}, ...children) => { const made = Object.assign(document.createElement(tag), more); made.append(...children); return made; };

// Each pair once, with the reason that brought the two together.
export function pairsOf(items) {
  const byName = new Map(items.map((item) => [item.name, item])), seen = new Set(), found = [];
  for (const item of items) for (const reason of item.reasons || []) {
    const other = byName.get(reason.other);
    const key = [item.name, reason.other].sort().join("\0");
    if (!other || seen.has(key)) continue;
    seen.add(key);
    found.push({ items: [other, item], reason: reason.text });
  }
  return found;
}

export class Pairs {
  constructor(box, { picture, states, decide }) { Object.assign(this, { box, picture, states, decide }); }

  show(pairs) {
    const rows = pairs.slice(0, MOST).map((pair) => this.row(pair));
    const said = pairs.length ? "" : "No picture is a copy or a mirror image of another, as far as they were looked at.";
    const more = pairs.length > MOST ? [make("p", { className: "soft", textContent: `and ${pairs.length - MOST} more: decide these first` })] : [];
    this.box.replaceChildren(...(said ? [make("p", { className: "soft", textContent: said })] : []), ...rows, ...more);
  }

  row(pair) {
    const row = make("article", { className: "pair panel" }, make("p", { textContent: pair.reason }));
    row.append(...pair.items.map((item, at) => {
      const image = make("img", { alt: "", loading: "lazy", src: this.picture(item.name) });
      image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 160));
      const keep = make("button", { type: "button", textContent: "Keep this one" });
      keep.setAttribute("aria-label", `Keep ${item.name}, reject ${pair.items[1 - at].name}`);
      keep.addEventListener("click", () => { this.decide("kept", [item.name]); this.decide("rejected", [pair.items[1 - at].name]); this.tell(row, pair); });
      return make("figure", {}, image, make("figcaption", {}, make("span", { className: "named", textContent: item.name }), make("span", { className: "state" }), keep));
    }));
    const both = make("button", { type: "button", className: "quiet", textContent: "Keep both" });
    both.addEventListener("click", () => { this.decide("kept", pair.items.map((item) => item.name)); this.tell(row, pair); });
    row.append(both);
    this.tell(row, pair);
    return row;
  }

  tell(row, pair) {
    row.querySelectorAll("figure").forEach((figure, at) => {
      const item = pair.items[at], state = figure.querySelector(".state");
      state.textContent = this.states[item.state] + (item.by === "you" ? ", by you" : "");
      figure.dataset.state = item.state;
    });
  }
}
