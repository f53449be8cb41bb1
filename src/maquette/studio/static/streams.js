// Server-sent events as EventSource gives them, over the connection that all pages share (hub.js).

import { Hub } from "./hub.js";

let port = null, keys = 0;
const open = new Map();

function joined() {
  if (port) return port;
  if ("SharedWorker" in globalThis) port = new SharedWorker(document.querySelector('meta[name="maquette-hub"]').content, { type: "module" }).port;
  else {
    const channel = new MessageChannel();
    new Hub().join(channel.port2);
    port = channel.port1;
  }
  port.onmessage = ({ data }) => open.get(data.key)?.take(data);
  return port;
}

export class Stream extends EventTarget {
  // `after` is the number of the last event that is known already.
  constructor(path, after = -1) {
    super();
    Object.assign(this, { path, after, onmessage: null });
    this.begin();
  }

  begin() {
    this.key = ++keys;
    open.set(this.key, this);
    joined().postMessage({ hear: this.path, after: this.after, key: this.key });
  }

  take({ type, data, id }) {
    if (type === "message" && typeof id === "number") this.after = id;
    const event = new MessageEvent(type, { data, lastEventId: id === null || id === undefined ? "" : String(id) });
    this.dispatchEvent(event);
    if (type === "message") this.onmessage?.(event);
  }

  close() {
    if (open.delete(this.key)) joined().postMessage({ leave: this.key });
  }
}

// A page that is left hears nothing; one that the browser brings back as it was goes on where it stopped.
let left = [];
addEventListener("pagehide", () => { left = [...open.values()]; for (const stream of left) stream.close(); });
addEventListener("pageshow", (event) => { if (event.persisted) for (const stream of left) stream.begin(); left = []; });
