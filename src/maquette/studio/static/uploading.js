// Files on their way to the server: a dropped folder walked through, sent in pieces, several at once, gone on with where it stopped.

import { post, sendPiece } from "./talk.js";

const AT_ONCE = 4, TRIES = 5, PAUSE_MS = 800, MOST = 20001;

// All files of what was dropped, folders and those below included, with their paths; and the first folder's name.
export async function collect(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [], name = entries.find((each) => each.isDirectory)?.name || "";
  const waiting = [...entries];
  while (waiting.length && files.length < MOST) {
    const entry = waiting.pop();
    if (entry.isFile) files.push({ path: entry.fullPath.replace(/^\//, ""), file: await new Promise((done, wrong) => entry.file(done, wrong)) });
    else waiting.push(...await below(entry));
  }
  return { files: files.sort((one, other) => (one.path < other.path ? -1 : 1)), name };
}

async function below(folder) {
  const reader = folder.createReader(), found = [];
  for (;;) { // a reader gives a hundred at a time
    const some = await new Promise((done, wrong) => reader.readEntries(done, wrong));
    if (!some.length) return found;
    found.push(...some);
  }
}

export class Uploading {
  constructor(files, folder, tell) { Object.assign(this, { files, folder, tell, key: "", busy: false, done: false, wrong: [] }); }

  async run() {
    this.busy = true;
    try {
      for (let failed = 0; ; ) {
        const before = this.sent;
        try { return await this.once(); } catch (error) {
          failed = this.sent > before ? 0 : failed + 1;
          if (error.isFinal || failed >= TRIES) throw error;
          this.tell(this.sent / this.total || 0, "The studio does not answer; trying again …");
          await new Promise((after) => setTimeout(after, PAUSE_MS * (failed + 1)));
        }
      }
    } finally { this.busy = false; }
  }

  async once() {
    const list = this.files.map((each) => [each.path, each.file.size]);
    const plan = await post("/api/new/upload", { folder: this.folder, files: list });
    Object.assign(this, { key: plan.upload, pieceBytes: plan.piece_bytes, total: plan.bytes, arrived: new Map(Object.entries(plan.arrived).map(([index, size]) => [Number(index), size])) });
    this.sent = [...this.arrived.values()].reduce((sum, each) => sum + each, 0);
    Object.assign(this, { began: performance.now(), atBegin: this.sent, wrong: [] });
    const queue = [...plan.taken];
    const work = async () => { for (let index = queue.shift(); index !== undefined; index = queue.shift()) await this.send(index); };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    this.done = true;
    this.tell(1, "All there.");
    return { leftOut: [...this.wrong, ...plan.left_out], numLeftOut: plan.num_left_out + this.wrong.length, said: plan.said };
  }

  async send(index) {
    const file = this.files[index].file;
    for (let here = this.arrived.get(index) || 0; here < file.size; ) {
      const answer = await sendPiece(`/api/new/upload/${this.key}/${index}/${here}`, file.slice(here, here + this.pieceBytes));
      if (answer.wrong) this.wrong.push([this.files[index].path, answer.wrong]);
      this.sent += Math.max(0, answer.here - here);
      here = answer.here;
      this.say();
    }
  }

  say() {
    const seconds = (performance.now() - this.began) / 1000, moved = this.sent - this.atBegin;
    const left = seconds > 1 && moved ? Math.ceil((this.total - this.sent) * seconds / moved) : 0;
    const words = left > 90 ? `about ${Math.round(left / 60)} min left` : left ? `about ${left} s left` : "";
    this.tell(this.sent / this.total, [`${(this.sent / 1e6).toFixed(1)} of ${(this.total / 1e6).toFixed(1)} MB`, words].filter(Boolean).join(", "));
  }

  async drop() { if (this.key) await post(`/api/new/upload/${this.key}/drop`); }
}
