import { post, told } from "./talk.js";

document.getElementById("open").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/projects", { path: event.target.path.value }).then((answer) => location.assign(answer.url), told);
});

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => post(`/api/projects/${button.dataset.close}/close`).then(() => button.closest("li").remove(), told));
}
