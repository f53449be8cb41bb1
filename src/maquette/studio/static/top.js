// How many jobs run or wait, beside the way to the queue; other modules hear the queue through the same stream.

import { Stream } from "./streams.js";

const badge = document.getElementById("waiting");
const OVER = new Set(["done", "failed", "cancelled"]);
const hearers = new Set();
let known = null;

export function onQueue(hear) { hearers.add(hear); if (known) hear(known); }
export const isOver = (job) => OVER.has(job.state);

const stream = new Stream("/api/jobs/stream");
stream.onmessage = (message) => {
  known = JSON.parse(message.data).jobs;
  const open = known.filter((job) => !isOver(job)).length;
  badge.hidden = !open;
  badge.textContent = open;
  for (const hear of hearers) hear(known);
};
