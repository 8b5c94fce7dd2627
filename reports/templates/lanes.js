// What happened, event by event: a lane a kind, the first divergence marked, the reference's run below.
const LANES = [
  ["pass begins", "p"], ["micro-batch", "f"], ["backward", "b"], ["clip", "n"], ["optimizer", "ox"], ["scheduler", "s"],
  ["zero grad", "z"], ["log", "l"], ["save", "c"], ["evaluation", "e"], ["interruption", "it"],
];
const ALWAYS = "fboslc";
const EVENT = 9;
const LANE = 18;

function lanesFigure(lanes, other, names) {
  const both = other ? [lanes, other] : [lanes];
  const rows = LANES.filter(([, letters]) => [...letters].some((letter) => ALWAYS.includes(letter) || both.some((one) => one.letters.includes(letter))));
  const label = (text) => element("div", { class: "lane-title", text });
  const side = element("div", { class: "lane-names", "aria-hidden": "true" });
  const strips = element("div", { class: "scroll lane-strips", tabindex: "0", role: "region", "aria-label": "Lanes of events" });
  both.forEach((one, at) => {
    side.append(label(names[at]), ...rows.map(([name]) => element("div", { class: "lane-name", text: name })));
    strips.append(laneStrip(one, rows, names[at], lanes.mark));
  });
  const left = lanes.first > 0 ? `${shown(lanes.first)} events before and ` : "";
  const after = lanes.total - lanes.first - lanes.letters.length;
  const parts = [element("div", { class: "lanes" }, side, strips)];
  if (lanes.first > 0 || after > 0) parts.push(element("p", { class: "note", text: `${left}${shown(after)} after these are not in this page.` }));
  if (lanes.mark !== null) requestAnimationFrame(() => { strips.scrollLeft = lanes.mark * EVENT - strips.clientWidth * 0.6; });
  return parts;
}

function laneStrip(lanes, rows, name, mark) {
  const letters = [...lanes.letters];
  const width = Math.max((letters.length + 2) * EVENT, 260);
  const height = (rows.length + 1) * LANE + 6;
  const parts = [];
  if (lanes.mark !== null) {
    const x = lanes.mark * EVENT - 1;
    parts.push(shape("path", { class: "mark-band", d: `M${x} 0h${EVENT + 2}v${height}h${-EVENT - 2}z` }),
      shape("text", { class: "mark-text", x: x > 110 ? x - 4 : x + EVENT + 5, y: 13, "text-anchor": x > 110 ? "end" : "start", text: "books part here ▾" }));
  } else if (mark !== null) parts.push(shape("path", { class: "mark-line", d: `M${mark * EVENT} 0v${height}` }));
  const places = {};
  let update = lanes.updates;
  let last = -9;
  letters.forEach((letter, at) => {
    const row = rows.findIndex(([, kinds]) => kinds.includes(letter));
    (places[letter] ||= []).push([at * EVENT + 1, (row + 1) * LANE + 4]);
    if (letter !== "o") return;
    update += 1;
    if (at - last > 5 && Math.abs(at - (lanes.mark ?? -99)) > 14) {
      parts.push(shape("text", { class: "tick", x: at * EVENT + EVENT / 2, y: 13, "text-anchor": "middle", text: String(update) }));
      last = at;
    }
  });
  rows.forEach((_, row) => parts.push(shape("path", { class: "grid", d: `M0 ${(row + 2) * LANE}h${width}` })));
  for (const [letter, found] of Object.entries(places)) parts.push(shape("path", { class: `e-${letter}`, d: blocks(found, EVENT - 2, LANE - 6) }));
  const many = (letter) => letters.filter((one) => one === letter).length;
  const said = `${name}: ${many("f")} micro-batches, ${many("b")} backwards, ${many("o")} optimizer steps, ${many("s")} scheduler steps, ${many("l")} logs, ${many("c")} saves`;
  return drawing(width, height, lanes.mark === null ? said : `${said}; the books part at event ${lanes.first + lanes.mark + 1} of these lanes`, ...parts);
}
