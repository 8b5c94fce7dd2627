// Loss, learning rate and gradient norm, the reference's run below the subject's; the reader chooses the x-axis.
const UNITS = [["updates", "update"], ["micro_batches", "micro-batch"], ["rows", "row"], ["tokens", "token"]];
const PLOTS = [["losses", "loss", 150], ["learning_rates", "learning rate", 90], ["grad_norms", "gradient norm", 110]];
const SIZE = { width: 720, left: 74, right: 12 };

function curvesFigure(curves, other, names) {
  const place = element("div", { class: "plots" });
  const draw = (unit) => place.replaceChildren(...PLOTS.filter(([key]) => curves[key].some((value) => value !== null)).map(
    ([key, title, height]) => plot(curves, other, key, title, height, unit, names)));
  const choice = element("fieldset", { class: "units" }, element("legend", { text: "x-axis" }), ...UNITS.map(([key, word], at) => {
    const input = element("input", { type: "radio", name: "unit", value: key });
    input.checked = at === 0;
    input.addEventListener("change", () => draw(key));
    return element("label", {}, input, ` ${word}`);
  }));
  draw("updates");
  const items = [["c-subject", names[0]]];
  if (other) items.push(["c-reference", names[1]]);
  if (curves.low.length) items.push(["c-band", "within the envelope of the float64 replay"]);
  const parts = [choice, place, legend(...items)];
  if (curves.total > curves.updates.length) parts.push(element("p", { class: "note", text: `${shown(curves.updates.length)} of ${shown(curves.total)} updates are drawn.` }));
  if (curves.not_finite) parts.push(element("p", { class: "note", text: `${shown(curves.not_finite)} losses are missing, NaN or infinite.` }));
  return parts;
}

function plot(curves, other, key, title, height, unit, names) {
  const lines = [[other, "c-reference"], [curves, "c-subject"]].filter(([one]) => one);
  const band = key === "losses" && curves.low.length ? [curves.low, curves.high] : [];
  const xs = lines.flatMap(([one]) => one[unit]);
  const ys = [...lines.flatMap(([one]) => one[key]), ...band.flat()].filter((value) => value !== null);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  const [bottom, top] = [low - room, high + room];
  const inner = SIZE.width - SIZE.left - SIZE.right;
  const x = (value) => SIZE.left + (right > left ? (value - left) / (right - left) : 0.5) * inner;
  const y = (value) => 8 + (1 - (value - bottom) / (top - bottom)) * (height - 30);
  const parts = [];
  for (const at of ticks(bottom, top, 3)) {
    parts.push(shape("path", { class: "grid", d: `M${SIZE.left} ${y(at)}h${inner}` }),
      shape("text", { class: "tick", x: SIZE.left - 6, y: y(at) + 4, "text-anchor": "end", text: String(Number(at.toPrecision(4))) }));
  }
  for (const at of ticks(left, right, 7, 1)) parts.push(shape("text", { class: "tick", x: x(at), y: height - 5, "text-anchor": "middle", text: shown(at) }));
  if (band.length) {
    const edge = (values) => values.map((value, at) => (value === null ? null : `${x(curves[unit][at])} ${y(value)}`)).filter(Boolean);
    parts.push(shape("path", { class: "c-band", d: `M${[...edge(band[0]), ...edge(band[1]).reverse()].join("L")}z` }));
  }
  for (const [one, name] of lines) parts.push(shape("path", { class: name, d: trace(one[unit], one[key], x, y) }));
  const ends = lines.map(([one], at) => `${names[lines.length - 1 - at]}: ${one[key].length} values, the last ${shown(one[key].at(-1))}`);
  return element("figure", {}, element("figcaption", { text: title }), drawing(SIZE.width, height, `${title} by ${unit.replace("_", "-")}. ${ends.join("; ")}`, ...parts));
}

// A line with gaps where there is no value; a value alone is a dot.
function trace(xs, values, x, y) {
  let path = "";
  values.forEach((value, at) => {
    if (value === null) return;
    const after = at > 0 && values[at - 1] !== null;
    path += `${after ? "L" : "M"}${x(xs[at]).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!after && (at + 1 === values.length || values[at + 1] === null)) path += "h.1";
  });
  return path;
}
