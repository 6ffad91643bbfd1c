"use strict";
// Sort a table by a column: numbers by value, words by alphabet, what is missing last; rows stay in their sections.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
    };
    const isMissing = (row) => ["missing", "same"].includes(row.cells[column].className);
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => row.className !== "section");
      rows.sort((a, b) => {
        if (isMissing(a) !== isMissing(b)) return isMissing(a) ? 1 : -1;
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return down ? -order : order;
      });
      body.append(...rows);
    }
  }));
}
// Copy a table; where a page from a file may not use the clipboard, by a selection.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const said = button.textContent;
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector(`template.${button.dataset.copy}`).content.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1500);
  });
}
// On paper nothing is folded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
