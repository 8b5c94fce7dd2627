// The weight books: a line a row, a column an update; the colour and the sign say how a row weighed against what was due.
const SQUARE = 15;
const FOREIGN = -1;

function weightKind(value) {
  if (value === FOREIGN) return "foreign";
  if (value === 0) return "nothing";
  if (value === 1) return "right"; // the tolerance was applied when the books were written
  return value > 1 ? "heavy" : "light";
}

// A sign in a square, so that the colour is not alone: up, down, ring, cross.
const SIGNS = {
  heavy: (x, y) => `M${x + 7.5} ${y + 3.5}l4 7h-8z`,
  light: (x, y) => `M${x + 7.5} ${y + 11}l4 -7h-8z`,
  nothing: (x, y) => `M${x + 4} ${y + 7.5}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z`,
  foreign: (x, y) => `M${x + 4} ${y + 4}l7 7m0 -7l-7 7`,
};

function booksFigure(books) {
  const places = {};
  const wrong = [];
  for (let at = 0; at < books.entries.length; at += 3) {
    const [line, column, value] = [books.entries[at], books.entries[at + 1], books.values[books.entries[at + 2]]];
    const kind = weightKind(value);
    (places[kind] ||= []).push([48 + column * SQUARE, 20 + line * SQUARE]);
    if (kind !== "right") wrong.push({ row: books.rows[line], update: books.updates[column], value, kind });
  }
  const width = 56 + books.updates.length * SQUARE;
  const height = 26 + books.rows.length * SQUARE;
  const every = String(books.updates.at(-1)).length; // so that the numbers do not touch
  const parts = books.updates.flatMap((update, column) => (column % every ? [] :
    [shape("text", { class: "tick", x: 55 + column * SQUARE, y: 13, "text-anchor": "middle", text: String(update) })]));
  parts.push(...books.rows.map((row, line) => shape("text", { class: "tick", x: 42, y: 31 + line * SQUARE, "text-anchor": "end", text: `row ${row}` })));
  for (const [kind, found] of Object.entries(places)) {
    parts.push(shape("path", { class: `w-${kind}`, d: blocks(found, SQUARE - 2, SQUARE - 2) }));
    if (SIGNS[kind]) parts.push(shape("path", { class: `sign${kind === "heavy" || kind === "light" ? "" : " line"}`, d: found.map(([x, y]) => SIGNS[kind](x - 1, y - 1)).join("") }));
  }
  const title = wrong.length ? `Weight books: ${shown(wrong.length)} of ${shown(books.entries.length / 3)} weights are not what was due` : "Weight books: every weight is what was due";
  const said = wrong.sort((one, other) => one.update - other.update).slice(0, 4).map(({ row, update, value, kind }) => {
    const how = { foreign: "weighs although it is not in the window", nothing: "weighs nothing" }[kind] || `weighs ${shown(value)} times what is due`;
    return `In update ${update} row ${row} ${how}.`;
  });
  const parts2 = [element("p", { text: `${title}. ${said.join(" ")}` }),
    element("div", { class: "scroll books", tabindex: "0", role: "region", "aria-label": "Weight books, row by update" }, drawing(width, height, title, ...parts)),
    legend(["w-right", "as due"], ["w-heavy", "▲ too heavy"], ["w-light", "▼ too light"], ["w-nothing", "○ in the window, weighs nothing"], ["w-foreign", "✕ weighs, and is not in the window"])];
  const left = [[books.more_rows, "rows"], [books.more_updates, "updates"]].filter(([number]) => number > 0).map(([number, word]) => `${shown(number)} ${word}`);
  if (left.length) parts2.push(element("p", { class: "note", text: `${left.join(" and ")} more are not in this page.` }));
  return parts2;
}
