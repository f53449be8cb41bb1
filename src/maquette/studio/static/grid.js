// A grid of thousands of tiles of which only those in sight exist. It knows nothing of what the tiles show.

const GAP = 10, AROUND_ROWS = 3;

// A tile that shows a picture, and beside it whatever a page adds.
export function pictureTile(source, kind, ...more) {
  const tile = document.createElement("div");
  tile.className = `tile ${kind}`;
  tile.setAttribute("role", "option");
  const image = new Image();
  image.alt = "";
  image.decoding = "async";
  image.addEventListener("load", () => tile.classList.toggle("tiny", image.naturalWidth <= 128));
  image.src = source;
  tile.append(image, ...more);
  return tile;
}

export class Grid {
  // make(item) returns a new tile's element; paint(element, item, isHere, isChosen) brings one up to date.
  constructor(box, sheet, { make, paint, onMove, onOpen, label = 26 }) {
    Object.assign(this, { box, sheet, make, paint, onMove, onOpen, label });
    this.items = [];
    this.side = 168;
    this.here = 0;
    this.chosen = new Set();
    this.tiles = new Map();
    box.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.layOut()).observe(box);
    sheet.addEventListener("click", (event) => this.clicked(event));
    sheet.addEventListener("dblclick", () => this.onOpen?.());
  }

  show(items, keep) {
    this.items = items;
    const place = keep === undefined ? -1 : items.findIndex((item) => item.name === keep);
    this.here = Math.max(0, place < 0 ? Math.min(this.here, items.length - 1) : place);
    this.chosen.clear();
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.layOut();
    this.reveal();
  }

  get current() { return this.items[this.here]; }

  // What a decision is about: the chosen ones, else the one that stands here.
  get meant() { return this.chosen.size ? this.items.filter((item) => this.chosen.has(item.name)) : this.items.slice(this.here, this.here + 1); }

  resize(side) { this.side = side; this.layOut(); this.reveal(); }

  layOut() {
    const width = this.sheet.clientWidth;
    if (!width) return;
    this.columns = Math.max(1, Math.floor((width + GAP) / (this.side + GAP)));
    this.wide = (width - GAP * (this.columns - 1)) / this.columns;
    this.high = this.wide + this.label;
    const rows = Math.ceil(this.items.length / this.columns);
    this.sheet.style.height = `${rows * (this.high + GAP) + GAP}px`;
    this.draw(true);
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  draw(moved = false) {
    if (!this.columns) return;
    const row = this.high + GAP, top = this.box.scrollTop;
    const first = Math.max(0, Math.floor(top / row) - AROUND_ROWS) * this.columns;
    const last = Math.min(this.items.length, (Math.ceil((top + this.box.clientHeight) / row) + AROUND_ROWS) * this.columns);
    for (const [place, tile] of this.tiles) {
      if (place < first || place >= last) { tile.remove(); this.tiles.delete(place); }
    }
    for (let place = first; place < last; place++) {
      let tile = this.tiles.get(place);
      if (!tile) {
        tile = this.make(this.items[place]);
        tile.id = `tile-${place}`;
        tile.dataset.place = place;
        this.tiles.set(place, tile);
        this.place(tile, place);
        this.brush(place);
        this.sheet.append(tile);
      } else if (moved) this.place(tile, place);
    }
  }

  place(tile, place) {
    const x = (place % this.columns) * (this.wide + GAP), y = Math.floor(place / this.columns) * (this.high + GAP);
    tile.style.transform = `translate(${x}px, ${y}px)`;
    tile.style.width = `${this.wide}px`;
    tile.style.height = `${this.high}px`;
  }

  brush(place) {
    const tile = this.tiles.get(place), item = this.items[place];
    if (!tile || !item) return;
    tile.setAttribute("aria-posinset", place + 1);
    tile.setAttribute("aria-setsize", this.items.length);
    this.paint(tile, item, place === this.here, this.chosen.has(item.name));
  }

  repaint() { for (const place of this.tiles.keys()) this.brush(place); }

  go(place, { extend = false } = {}) {
    if (!this.items.length) return;
    const to = Math.max(0, Math.min(this.items.length - 1, place));
    if (extend) {
      const [low, high] = [Math.min(to, this.here), Math.max(to, this.here)];
      for (let at = low; at <= high; at++) this.chosen.add(this.items[at].name);
    }
    this.here = to;
    this.reveal();
    this.repaint();
    this.onMove?.();
  }

  reveal() {
    if (!this.columns || !this.items.length) return this.box.removeAttribute("aria-activedescendant");
    const row = this.high + GAP, top = Math.floor(this.here / this.columns) * row;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.high > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + this.high - this.box.clientHeight + GAP;
    this.draw();
    this.box.setAttribute("aria-activedescendant", `tile-${this.here}`);
  }

  clicked(event) {
    const tile = event.target.closest("[data-place]");
    if (!tile) return;
    const place = Number(tile.dataset.place), name = this.items[place].name;
    if (event.ctrlKey || event.metaKey) { if (!this.chosen.delete(name)) this.chosen.add(name); }
    else if (!event.shiftKey) this.chosen.clear();
    this.go(place, { extend: event.shiftKey });
  }

  // Returns whether the key was one that moves.
  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / (this.high + GAP))) * this.columns;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page, Home: -this.items.length, End: this.items.length };
    if (!(event.key in moves)) return false;
    if (!event.shiftKey) this.chosen.clear();
    this.go(this.here + moves[event.key], { extend: event.shiftKey });
    return true;
  }
}
