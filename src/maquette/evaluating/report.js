"use strict";
(() => {
  const dialog = document.getElementById("enlarged");
  const panes = [...dialog.querySelectorAll("figure")].map((figure) => ({
    figure,
    image: figure.querySelector("img"),
    choice: figure.querySelector("select"),
    note: figure.querySelector("figcaption"),
  }));
  const told = dialog.querySelector(".told");
  const pictures = [...document.querySelectorAll("img.pic")];
  const rows = new Map();
  pictures
    .filter((picture) => picture.dataset.column)
    .forEach((picture) => {
      const row = picture.dataset.row;
      if (!rows.has(row)) rows.set(row, new Map());
      rows.get(row).set(picture.dataset.column, picture);
    });
  const order = [...rows.keys()];
  const chosen = document.querySelector(".grid-table th.chosen")?.textContent;
  let row = null;
  let single = null;

  /* The page's own copy shows at once; the file beside the page, where there is one, replaces it in full size. */
  const load = (image, picture) => {
    image.src = picture.src;
    image.alt = picture.alt;
    const original = picture.dataset.original;
    if (!original) return;
    const full = new Image();
    full.onload = () => {
      if (image.alt === picture.alt) image.src = full.src;
    };
    full.src = original;
  };

  const fit = (pane, picture) => {
    const shown = panes.filter((entry) => !entry.figure.hidden).length;
    const across = innerWidth > 640 ? shown : 1;
    const room = Math.min((0.88 * innerWidth) / across, (0.7 * innerHeight) / (shown / across));
    const side = Math.max(picture.naturalWidth, picture.naturalHeight);
    const tiny = picture.classList.contains("tiny");
    const times = tiny ? Math.max(1, Math.floor(room / side)) : Math.min(room, 1024) / side;
    pane.image.className = tiny ? "tiny" : "";
    pane.image.style.width = `${Math.round(picture.naturalWidth * times)}px`;
  };

  const show = (pane, picture, note) => {
    load(pane.image, picture);
    fit(pane, picture);
    pane.note.textContent = note;
  };

  const compare = () => {
    const cells = rows.get(row);
    panes.forEach((pane) => {
      const picture = cells.get(pane.choice.value);
      if (picture) show(pane, picture, picture.dataset.note);
    });
    const first = cells.values().next().value;
    told.textContent = first.alt.replace(/^[^,]*, /, "");
  };

  const openRow = (picture) => {
    row = picture.dataset.row;
    single = null;
    const names = [...rows.get(row).keys()];
    const here = picture.dataset.column;
    const other = chosen && names.includes(chosen) && chosen !== here ? chosen : names.find((name) => name !== here);
    panes.forEach((pane, index) => {
      pane.figure.hidden = index === 1 && !other;
      pane.choice.hidden = false;
      pane.choice.replaceChildren(...names.map((name) => new Option(name, name)));
    });
    const [left, right] = other && names.indexOf(other) < names.indexOf(here) ? [other, here] : [here, other];
    panes[0].choice.value = left;
    if (right) panes[1].choice.value = right;
    compare();
  };

  const openSingle = (picture) => {
    row = null;
    single = picture;
    panes[1].figure.hidden = true;
    panes[0].choice.hidden = true;
    show(panes[0], picture, "");
    told.textContent = picture.alt;
  };

  const open = (picture) => {
    if (picture.dataset.column) openRow(picture);
    else openSingle(picture);
    if (!dialog.open) dialog.showModal();
  };

  const step = (by) => {
    if (row !== null) {
      row = order[(order.indexOf(row) + by + order.length) % order.length];
      compare();
      return;
    }
    const alone = pictures.filter((picture) => !picture.dataset.column);
    openSingle(alone[(alone.indexOf(single) + by + alone.length) % alone.length]);
  };

  pictures.forEach((picture) => {
    picture.addEventListener("click", () => open(picture));
    picture.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(picture);
      }
    });
  });
  panes.forEach((pane) => pane.choice.addEventListener("change", compare));
  dialog.addEventListener("click", (event) => {
    const by = event.target.dataset?.step;
    if (by) step(Number(by));
    else if (event.target === dialog || "close" in (event.target.dataset ?? {})) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
})();
