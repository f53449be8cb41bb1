// Asking the server: the page's token goes with what changes something, and problems come back in words.

const META = 'meta[name="maquette-page"]';
const MOST_OUTLIVING = 60000;  // bytes; a letter has at most three
let token = document.querySelector(META).content;

// What the server said no to; asking again brings the same.
export class Refused extends Error { isFinal = true; }

async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const said = (answer.error || []).map((each) => [each.where, each.given, each.remedy].filter(Boolean).join(": "));
  throw new Refused(said.join(" ") || `The studio answered ${response.status}.`);
}

export async function get(path) {
  return answerOf(await fetch(path, { headers: { accept: "application/json" } }));
}

// `outlives`: it is sent even where the page is left at once. A browser does that for small ones only.
export async function post(path, body = {}, { outlives = false } = {}) {
  const text = JSON.stringify(body);
  const answer = await send(path, text, "application/json", outlives && 3 * text.length < MOST_OUTLIVING);
  changed(path);
  return answer;
}

// Whoever shows how far the project is looks again.
export const changed = (path = "") => document.dispatchEvent(new CustomEvent("maquette:changed", { detail: path }));

// Part of a file, as it is.
export const sendPiece = (path, piece) => send(path, piece, "application/octet-stream");

async function send(path, body, type, keepalive = false) {
  const used = token;
  const asked = () => fetch(path, { method: "POST", body, keepalive, headers: { "content-type": type, "x-maquette-page": token } });
  const answer = await asked();
  const isStale = answer.status === 403 && (token !== used || await renewed());
  return answerOf(isStale ? await asked() : answer);
}

// A server that was started again has a token of its own, which stands in this page as it serves it now.
async function renewed() {
  const text = await (await fetch(location.href, { headers: { accept: "text/html" } })).text();
  const now = new DOMParser().parseFromString(text, "text/html").querySelector(META)?.content;
  if (!now || now === token) return false;
  token = now;
  return true;
}

export function toast(text, kind = "") {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  box.textContent = text;
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), kind === "bad" ? 12000 : 5000);
}

export const saying = (error) => error instanceof Refused ? error.message : "The studio does not answer. Is `maquette studio` still running?";
export const told = (error) => toast(saying(error), "bad");

// A text of the program as nodes: what stands between backticks is code.
export const worded = (text) => text.split("`").map((part, place) => place % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part);

export const pathOf = (name) => name.split("/").map(encodeURIComponent).join("/");

// An element with its class and its text; a stranger's text is text, whatever stands in it.
export const made = (tag, className = "", text = "", more = {}) => Object.assign(document.createElement(tag), { className, textContent: text, ...more });

// A text whose parts between backticks are what one types.
export function withCode(element, text) {
  element.replaceChildren(...text.split("`").map((part, place) => (place % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part)));
  return element;
}
