"use strict";
(() => {
  const dialog = document.getElementById("enlarged");
  const [large, note] = [dialog.querySelector("img"), dialog.querySelector("p")];
  const open = (picture) => {
    large.src = picture.src;
    large.alt = picture.alt;
    const tiny = picture.classList.contains("tiny");
    const room = Math.min(0.84 * innerWidth, 0.78 * innerHeight, 700);
    const side = Math.max(picture.naturalWidth, picture.naturalHeight);
    large.className = tiny ? "tiny" : "";
    large.style.width = tiny ? `${picture.naturalWidth * Math.max(1, Math.floor(room / side))}px` : "";
    note.textContent = picture.alt;
    dialog.showModal();
  };
  document.querySelectorAll("img.pic").forEach((picture) => {
    picture.addEventListener("click", () => open(picture));
    picture.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(picture);
      }
    });
  });
  dialog.addEventListener("click", () => dialog.close());
})();
