"use strict";
(() => {
  const ballot = JSON.parse(document.getElementById("ballot").textContent);
  const at = (id) => document.getElementById(id);
  const kept = `maquette-votes-${ballot.pairs.length}-${ballot.pairs.flat().slice(0, 4).join("-")}`;
  /* A closed tab loses nothing, where the browser keeps something for a page of one's own disk. */
  const recall = () => {
    try {
      return JSON.parse(localStorage.getItem(kept)) ?? [];
    } catch {
      return [];
    }
  };
  const winners = recall().slice(0, ballot.pairs.length);
  let place = winners.length;

  const text = () =>
    JSON.stringify({
      maquette_votes: 1,
      run: ballot.run,
      votes: winners.map((winner, index) => ({ left: ballot.pairs[index][0], right: ballot.pairs[index][1], winner })),
    });

  const put = (side, key) => {
    const image = at(side).querySelector("img");
    image.onload = () => {
      image.className = Math.max(image.naturalWidth, image.naturalHeight) <= 160 ? "tiny" : "";
    };
    image.src = ballot.pictures[key];
  };

  const show = (finished = false) => {
    const over = finished || place >= ballot.pairs.length;
    at("done").hidden = !over;
    at("pair").hidden = over;
    at("pair").style.display = over ? "none" : "";
    at("count").textContent = `${Math.min(place + 1, ballot.pairs.length)} of ${ballot.pairs.length}`;
    if (over) {
      at("count").textContent = `${winners.length} of ${ballot.pairs.length} judged`;
      at("text").value = text();
      at("save").href = `data:application/json;charset=utf-8,${encodeURIComponent(text())}`;
      return;
    }
    put("left", ballot.pairs[place][0]);
    put("right", ballot.pairs[place][1]);
  };

  const vote = (winner) => {
    if (at("pair").hidden) return;
    winners[place] = winner;
    place += 1;
    try {
      localStorage.setItem(kept, JSON.stringify(winners));
    } catch {
      /* Nothing is kept; the votes stand in the page all the same. */
    }
    show();
  };

  const back = () => {
    if (place > 0) place -= 1;
    show();
  };

  at("left").addEventListener("click", () => vote("left"));
  at("right").addEventListener("click", () => vote("right"));
  at("none").addEventListener("click", () => vote("none"));
  at("back").addEventListener("click", back);
  at("finish").addEventListener("click", () => show(true));
  at("more").addEventListener("click", () => {
    place = Math.min(winners.length, ballot.pairs.length - 1);
    show();
  });
  at("copy").addEventListener("click", () => {
    at("text").select();
    navigator.clipboard?.writeText(text());
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const winner = { 1: "left", 2: "right", 0: "none" }[event.key];
    if (winner) vote(winner);
    if (event.key === "ArrowLeft" || event.key === "Backspace") back();
  });
  show();
})();
