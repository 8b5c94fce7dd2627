// Arrow keys walk the tables of numbers: from link to link, over what has none.
function walkTables() {
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const link = event.target.closest(".heat td a, .matrix td a");
    if (!step || !link || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const cell = link.closest("td");
    const rows = [...cell.closest("tbody").rows];
    let [row, column] = [rows.indexOf(cell.parentElement), cell.cellIndex];
    event.preventDefault();
    for (;;) {
      row += step[0];
      column += step[1];
      const next = rows[row]?.cells[column];
      if (!next) return;
      const found = next.querySelector("td a");
      if (found) { found.focus(); return; }
    }
  });
}
