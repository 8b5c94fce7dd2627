// The cell table: only the rows on the screen exist, so that 20,000 cells scroll as easily as 20.
const ROW_HEIGHT = 34;
const OVERSCAN = 12;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function badge(data, key) {
  const status = data.statuses[key];
  return element("span", { class: `badge s-${key}` }, element("span", { "aria-hidden": "true", text: status.shape }), ` ${status.word}`);
}

const shown = (number) => (number === null ? "–" : typeof number === "number" ? number.toLocaleString("en-US") : String(number));

class CellTable {
  constructor(data) {
    this.data = data;
    this.scroller = document.getElementById("scroller");
    this.table = document.getElementById("cell-table");
    this.body = this.table.tBodies[0];
    this.rows = data.id.map((_, row) => row);
    this.sortKey = null;
    this.falling = false;
    this.opened = null;
    this.from = -1;
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw(true)).observe(this.scroller);
    this.scroller.addEventListener("keydown", (event) => this.walk(event));
    for (const head of this.table.querySelectorAll("th[data-sort]")) {
      const button = element("button", { type: "button", text: head.textContent.trim() });
      button.addEventListener("click", () => this.sort(head.dataset.sort));
      head.replaceChildren(button);
    }
  }

  show(test) {
    const rows = [];
    for (let row = 0; row < this.data.id.length; row++) if (test(row)) rows.push(row);
    this.rows = rows;
    this.arrange();
    this.scroller.scrollTop = 0;
    this.draw(true);
  }

  sort(key) {
    this.falling = this.sortKey === key && !this.falling;
    this.sortKey = key;
    for (const head of this.table.querySelectorAll("th[data-sort]")) {
      if (head.dataset.sort === key) head.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      const button = head.querySelector("button");
      button.textContent = button.textContent.replace(/ [▲▼]$/, "") + (head.dataset.sort === key ? (this.falling ? " ▼" : " ▲") : "");
    }
    this.arrange();
    this.draw(true);
  }

  arrange() {
    if (this.sortKey === null) return;
    const value = this.sortValue();
    const sign = this.falling ? -1 : 1;
    this.rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
  }

  sortValue() {
    const data = this.data;
    const order = Object.keys(data.statuses);
    switch (this.sortKey) {
      case "status": return (row) => order.indexOf(data.status[row]);
      case "subject": return (row) => data.strings[data.subject[row]];
      case "label": return (row) => data.strings[data.label[row]];
      case "rules": return (row) => this.rules(row) || null;
      default: return (row) => stepsOf(data, this.sortKey, row);
    }
  }

  rules(row) {
    return [...new Set((this.data.deviations[row] || []).map((item) => this.data.strings[item[0]]))].join(" ");
  }

  draw(force = false) {
    const visible = Math.ceil(this.scroller.clientHeight / ROW_HEIGHT) + 2 * OVERSCAN;
    const top = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_HEIGHT) - OVERSCAN);
    const from = Math.max(0, Math.min(top - (top % 4), this.rows.length - visible));
    if (!force && from === this.from) return;
    this.from = from;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    const part = this.rows.slice(from, from + visible + 4);
    const after = this.rows.length - from - part.length;
    this.body.replaceChildren(this.spacer(from), ...part.map((row, at) => this.row(row, from + at)), this.spacer(after));
    this.table.setAttribute("aria-rowcount", String(this.rows.length + 1));
    if (this.rows.length === 0) {
      this.body.append(element("tr", {}, element("td", { colspan: "7", text: "No cell matches." })));
    }
    if (focused !== null) this.body.querySelector(`a[data-row="${focused}"]`)?.focus({ preventScroll: true });
  }

  spacer(rows) {
    const cell = element("td", { colspan: "7" });
    cell.style.height = `${rows * ROW_HEIGHT}px`;
    const made = element("tr", { class: "spacer", "aria-hidden": "true" }, cell);
    made.hidden = rows === 0;
    return made;
  }

  row(row, place) {
    const data = this.data;
    const label = data.strings[data.label[row]];
    const link = element("a", { href: `#${fragment({ cell: data.id[row] })}`, text: label, title: label, "data-row": String(row) });
    const expected = stepsOf(data, "expected", row);
    const steps = ["expected", "observed", "claimed"].map((account) => {
      const number = stepsOf(data, account, row);
      const off = account !== "expected" && number !== null && expected !== null && number !== expected;
      return element("td", { class: off ? "figure off" : "figure", text: (off ? "≠ " : "") + shown(number) });
    });
    const made = element("tr", { "aria-rowindex": String(place + 2) },
      element("td", {}, badge(data, data.status[row])),
      element("td", { text: data.strings[data.subject[row]], title: data.strings[data.subject[row]] }),
      element("td", {}, link), ...steps, element("td", { text: this.rules(row), title: this.rules(row) }));
    if (row === this.opened) made.classList.add("open");
    return made;
  }

  // Arrow keys walk from row to row, drawing what comes into view.
  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!step || this.rows.length === 0) return;
    event.preventDefault();
    const current = document.activeElement.dataset?.row;
    const at = current === undefined ? -1 : this.rows.indexOf(Number(current));
    this.focus(Math.max(0, Math.min(this.rows.length - 1, at < 0 ? 0 : at + step)));
  }

  focus(place) {
    const head = this.table.tHead.offsetHeight;
    const top = place * ROW_HEIGHT;
    const view = this.scroller;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW_HEIGHT > view.scrollTop + view.clientHeight - head) view.scrollTop = top + ROW_HEIGHT - view.clientHeight + head;
    this.draw(true);
    this.body.querySelector(`a[data-row="${this.rows[place]}"]`)?.focus({ preventScroll: true });
  }

  mark(row) {
    this.opened = row;
    this.draw(true);
  }
}
