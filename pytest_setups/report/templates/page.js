"use strict";
{
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

  const copy = async (target, button) => {
    try {
      await navigator.clipboard.writeText(target.textContent);
    } catch {
      getSelection().selectAllChildren(target);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  for (const target of document.querySelectorAll("[data-copy]")) {
    const button = make("button", "Copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${target.dataset.copy}`);
    button.addEventListener("click", () => copy(target, button));
    target.after(button);
  }

  const value = (row, column, kind) => {
    const text = row.cells[column].textContent.trim();
    return kind === "number" ? (Number.isNaN(parseFloat(text)) ? Infinity : parseFloat(text)) : text;
  };

  const sort = (heading) => {
    const table = heading.closest("table");
    const down = heading.getAttribute("aria-sort") === "ascending";
    const { cellIndex: column, dataset: { sort: kind } } = heading;
    const order = (a, b) => {
      const [x, y] = [value(a, column, kind), value(b, column, kind)];
      return kind === "number" ? (x > y) - (x < y) : x.localeCompare(y, "en", { numeric: true });
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? order(b, a) : order(a, b)));
    table.tBodies[0].append(...rows);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  for (const heading of document.querySelectorAll("th[data-sort]")) {
    const button = make("button", heading.textContent);
    button.type = "button";
    button.addEventListener("click", () => sort(heading));
    heading.replaceChildren(button);
  }

  const form = document.querySelector(".filters");
  if (form) {
    const rows = [...document.querySelectorAll(".entries tbody tr")];
    const fields = [...form.querySelectorAll("[data-filter]")];
    const fits = (row, field) => {
      const column = field.dataset.filter;
      if (column) return !field.value || row.dataset[column] === field.value;
      return row.textContent.toLowerCase().includes(field.value.trim().toLowerCase());
    };
    const filter = () => {
      for (const row of rows) row.hidden = !fields.every((field) => fits(row, field));
      document.getElementById("shown").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    filter();
  }
}
