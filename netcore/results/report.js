"use strict";
// The table of trials: sorted by its headings, filtered by text and state. Without scripts it is a plain table.
(() => {
  const table = document.getElementById("trials-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const words = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent.trim().toLowerCase())]));
  const headings = [...table.tHead.rows[0].cells];

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.title || cell.textContent.trim();
  };
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };

  const sort = (column) => {
    const heading = headings[column];
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    rows.sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      const missing = (x === "—") - (y === "—"); // missing values come last in both directions
      return missing || sign * compare(x, y);
    });
    body.append(...rows);
  };

  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(column));
    heading.append(button);
  });

  const filter = document.getElementById("filter");
  const text = document.getElementById("filter-text");
  const shown = document.getElementById("shown");
  const show = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const states = new Set([...filter.querySelectorAll("[name=state]:checked")].map((box) => box.value));
    let count = 0;
    for (const row of rows) {
      const found = (word) => words.get(row).some((cell) => cell.startsWith(word));
      const fits = states.has(row.dataset.state) && wanted.every(found);
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} trials`;
  };
  filter.addEventListener("input", show);
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.hidden = false;
  show();
})();

// A link to a folded table unfolds it. Inside MLflow, links within the page need the script to scroll.
(() => {
  const unfold = (hash) => {
    const target = document.getElementById(hash.slice(1));
    const folded = target && target.closest("details");
    if (folded) folded.open = true;
    return target;
  };
  addEventListener("hashchange", () => unfold(location.hash));
  unfold(location.hash);
  if (location.protocol !== "blob:") return;
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const target = link && unfold(link.hash);
    if (!target) return;
    event.preventDefault();
    target.scrollIntoView();
  });
})();
