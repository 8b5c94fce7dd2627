// Shapes for the drawings of a cell's page. Colours are classes, so that they follow the scheme; text is only ever text.
function shape(tag, properties = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function drawing(width, height, title, ...children) {
  return shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title, class: "drawing" }, ...children);
}

// Rectangles of one colour as one path: thousands of events are a dozen elements.
function blocks(places, width, height) {
  return places.map(([x, y]) => `M${x} ${y}h${width}v${height}h${-width}z`).join("");
}

function legend(...items) {
  return element("ul", { class: "legend-line" }, ...items.map(([name, text]) =>
    element("li", {}, element("span", { class: `swatch ${name}`, "aria-hidden": "true" }), ` ${text}`)));
}

// Round numbers that divide a range into about so many parts.
function ticks(low, high, parts, least = 0) {
  const rough = Math.max((high - low) / parts, least) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found;
}
