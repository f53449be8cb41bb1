"use strict";
(() => {
  const of = (number) => document.querySelectorAll(`.t${number}, tr[data-trial="${number}"]`);
  let lit = null;

  /* One trial in all charts and in the table; the same again puts it out. */
  const light = (number) => {
    document.querySelectorAll(".lit").forEach((each) => each.classList.remove("lit"));
    lit = number === lit ? null : number;
    document.body.classList.toggle("lit-any", lit !== null);
    if (lit !== null) of(lit).forEach((each) => each.classList.add("lit"));
  };
  const numberOf = (element) => {
    const row = element.closest("tr[data-trial]");
    if (row) return row.dataset.trial;
    return [...(element.classList ?? [])].find((name) => /^t\d+$/.test(name))?.slice(1);
  };
  document.addEventListener("click", (event) => {
    const number = numberOf(event.target);
    if (number !== undefined && !getSelection().toString()) light(number);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && lit !== null) light(lit);
    if (event.key === "Enter" && event.target.matches("tr[data-trial]")) light(event.target.dataset.trial);
  });

  /* Numbers sort as numbers; what is not known stands last either way. */
  const table = document.querySelector("table.sortable");
  const sortBy = (heading, column) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.children[column].dataset.key;
    const compare = (one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const numbers = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
      const order = numbers ? a - b : a.localeCompare(b);
      return down ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  };
  table?.querySelectorAll("th button").forEach((button) => {
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      sortBy(button.closest("th"), Number(button.dataset.column));
    });
  });

  const textOf = (name) => document.getElementById(name).textContent;
  document.querySelectorAll("[data-copy]").forEach((button) => {
    button.addEventListener("click", async () => {
      const said = button.textContent;
      try {
        await navigator.clipboard.writeText(textOf(button.dataset.copy));
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
        button.textContent = "selected: copy it";
      }
      setTimeout(() => (button.textContent = said), 1600);
    });
  });
  document.querySelectorAll("[data-save]").forEach((link) => {
    link.href = URL.createObjectURL(new Blob([textOf(link.dataset.save)], { type: "application/toml" }));
  });
})();
