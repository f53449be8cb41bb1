// Asking the server: the page's token goes with what changes something, and problems come back in words.

const TOKEN = document.querySelector('meta[name="maquette-page"]').content;

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

export async function post(path, body = {}) {
  const answer = await answerOf(await fetch(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", "x-maquette-page": TOKEN } }));
  changed(path);
  return answer;
}

// Whoever shows how far the project is looks again.
export const changed = (path = "") => document.dispatchEvent(new CustomEvent("maquette:changed", { detail: path }));

// Part of a file, as it is.
export async function sendPiece(path, piece) {
  return answerOf(await fetch(path, { method: "POST", body: piece, headers: { "content-type": "application/octet-stream", "x-maquette-page": TOKEN } }));
}

export function toast(text, kind = "") {
  const box = document.createElement("div");
  box.className = `toast ${kind}`;
  box.textContent = text;
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), kind === "bad" ? 12000 : 5000);
}

export const told = (error) => toast(error instanceof Refused ? error.message : "The studio does not answer. Is `maquette studio` still running?", "bad");

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
