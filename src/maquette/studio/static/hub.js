// The streams of all open pages of one browser, over one connection each: a browser keeps only six to a server, and a few tabs
// that each held their own would leave none for pages and pictures. Runs as a shared worker, or in the page where there is none.
//
//   a page sends    { hear: PATH, after: N, key }    and    { leave: key }
//   and is sent     { key, type, data, id }          type: message, open, error, or a name that the stream itself uses
//
// Events are numbered: whoever comes late is sent what the others have heard, nobody is sent a number twice.

const AGAIN_MS = 1000;
const NAMED = ["end"];

class Stream {
  constructor(path, after, over) {
    Object.assign(this, { path, from: after, after, over, heard: [], hearers: new Set() });
    this.open();
  }

  open() {
    this.source?.close();
    this.source = new EventSource(`${this.path}?after=${this.after}`);
    for (const type of ["message", ...NAMED]) this.source.addEventListener(type, (event) => this.take(type, event));
    this.source.addEventListener("open", () => this.tell({ type: "open" }));
    this.source.addEventListener("error", () => this.lost());
  }

  take(type, { data, lastEventId }) {
    const id = lastEventId === "" ? null : Number(lastEventId), event = { type, data, id };
    if (id === null) this.heard = [event];
    else if (type === "message") { this.after = id; this.heard.push(event); }
    this.tell(event);
    if (type === "end") { this.source.close(); this.over(this); }
  }

  tell(event) { for (const hearer of this.hearers) hearer.take(event); }

  // A connection that broke is taken up again by the browser; one that was refused (the server is just starting) by this.
  lost() {
    this.tell({ type: "error" });
    if (this.source.readyState === EventSource.CLOSED && this.hearers.size) setTimeout(() => this.hearers.size && this.open(), AGAIN_MS);
  }

  join(hearer) {
    this.hearers.add(hearer);
    if (hearer.after < this.from) { this.from = this.after = hearer.after; this.heard = []; this.open(); }
    else for (const event of this.heard) hearer.take(event);
  }

  leave(hearer) {
    this.hearers.delete(hearer);
    if (!this.hearers.size) { this.source.close(); this.over(this); }
  }
}

class Hearer {
  constructor(port, key, after) { Object.assign(this, { port, key, after }); }

  take(event) {
    if (event.type === "message" && event.id !== null && event.id !== undefined) {
      if (event.id <= this.after) return;
      this.after = event.id;
    }
    this.port.postMessage({ key: this.key, ...event });
  }
}

export class Hub {
  constructor() { this.streams = new Map(); }

  // Serve one page.
  join(port) {
    const own = new Map();
    port.onmessage = ({ data }) => {
      if (data.hear) {
        const hearer = new Hearer(port, data.key, data.after);
        own.set(data.key, { hearer, stream: this.stream(data.hear, data.after) });
        own.get(data.key).stream.join(hearer);
      } else if (own.has(data.leave)) {
        const { hearer, stream } = own.get(data.leave);
        own.delete(data.leave);
        stream.leave(hearer);
      }
    };
  }

  stream(path, after) {
    if (!this.streams.has(path)) this.streams.set(path, new Stream(path, after, (stream) => { if (this.streams.get(path) === stream) this.streams.delete(path); }));
    return this.streams.get(path);
  }
}

if ("onconnect" in globalThis) {
  const hub = new Hub();
  globalThis.onconnect = ({ ports }) => hub.join(ports[0]);
}
