// One cell in a panel of its own: what is broken, the accounts, the rules, the scenario. Text only ever as text.
class CellPanel {
  constructor(data, table, go) {
    this.data = data;
    this.table = table;
    this.go = go;
    this.dialog = document.getElementById("cell");
    this.row = null;
    this.dialog.addEventListener("close", () => go({ cell: null }));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog && event.clientX < this.dialog.getBoundingClientRect().left) this.dialog.close();
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.target.closest("pre, input, .scroll")) return;
      if (event.key === "j" || event.key === "ArrowRight") this.step(1);
      if (event.key === "k" || event.key === "ArrowLeft") this.step(-1);
    });
  }

  open(id) {
    const row = this.data.id.indexOf(id);
    this.row = row;
    this.dialog.replaceChildren(this.tools(row, id), ...(row < 0 ? this.missing(id) : this.content(row)));
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector("h2").focus({ preventScroll: true });
    this.dialog.scrollTop = 0;
    this.table.mark(row);
  }

  close() {
    if (this.dialog.open) this.dialog.close();
    const place = this.table.rows.indexOf(this.row);
    this.table.mark(null);
    if (place >= 0 && document.activeElement === document.body) this.table.focus(place);
    this.row = null;
  }

  step(by) {
    const place = this.table.rows.indexOf(this.row);
    const next = this.table.rows[place + by];
    if (place >= 0 && next !== undefined) this.go({ cell: this.data.id[next] });
  }

  tools(row, id) {
    const place = this.table.rows.indexOf(row);
    const button = (text, act, off = false) => {
      const made = element("button", { type: "button", text });
      made.disabled = off;
      made.addEventListener("click", act);
      return made;
    };
    const where = place < 0 ? "" : `${shown(place + 1)} of ${shown(this.table.rows.length)}`;
    return element("div", { class: "tools" }, element("span", { class: "place", text: where }),
      button("← previous", () => this.step(-1), place <= 0),
      button("next →", () => this.step(1), place < 0 || place + 1 >= this.table.rows.length),
      button("Copy link", (event) => copy(location.href.split("#")[0] + `#${fragment({ cell: id })}`, event.currentTarget)),
      button("Close", () => this.dialog.close()));
  }

  missing(id) {
    return [element("h2", { id: "cell-title", tabindex: "-1", text: "No such cell" }), element("p", { text: `This run has no cell ${id}.` })];
  }

  content(row) {
    const data = this.data;
    const text = (index) => data.strings[index];
    const parts = [
      element("h2", { id: "cell-title", tabindex: "-1" }, badge(data, data.status[row]), ` ${text(data.subject[row])}`),
      element("p", { class: "lead" }, element("code", { text: text(data.label[row]) })),
      command(this.filled(data.reproduce[row], row)),
    ];
    if (data.errors[row]) {
      const [kind, message, trace] = data.errors[row].map(text);
      parts.push(element("h3", { text: `Why it was not judged: ${kind}` }), element("p", { class: "message", text: message }));
      if (trace) parts.push(element("pre", { tabindex: "0", text: trace }));
    }
    if (data.reason[row] !== undefined) parts.push(element("h3", { text: "Unsupported" }), element("p", { text: text(data.reason[row]) }));
    const detail = data.details[data.id[row]];
    parts.push(...this.scenario(row), ...this.books(row, detail), ...this.findings(row));
    parts.push(...(detail ? this.drawings(row, detail) : [element("p", { class: "note", text: data.chosen })]));
    parts.push(...this.skipped(row), this.about(row));
    return parts;
  }

  filled(index, row) {
    return this.data.strings[index].replaceAll("{id}", this.data.id[row]);
  }

  // Where the books part, rule by rule, and how each is seen again.
  findings(row) {
    const text = (index) => this.data.strings[index];
    return (this.data.deviations[row] || []).map(([rule, standing, known, , , , event, update, what, reproduce]) => {
      const at = [event === null ? "" : `event ${shown(event)}`, update === null ? "" : `update ${shown(update)}`].filter(Boolean).join(", ");
      const facts = [["books part at", at ? `${at}: ${text(what)}` : text(what)]];
      if (text(known)) facts.push(["known as", text(known)]);
      if (reproduce !== this.data.reproduce[row]) facts.push(["reproduce with", this.filled(reproduce, row)]);
      return element("div", { class: `finding s-${standing}` }, element("h4", {}, badge(this.data, standing), ` ${text(rule)}`),
        element("dl", { class: "facts-of" }, ...facts.map(([name, value]) => element("div", {}, element("dt", { text: name }), element("dd", { text: value })))));
    });
  }

  // rule | formula with numbers | expected | observed | claimed | reference | Δ; figures that no rule is about come last.
  books(row, detail) {
    const data = this.data;
    const books = ["expected", "observed", "claimed", "reference"].map((name) => data.account[name][row]);
    if (books[0] < 0) return [];
    const figure = (at) => books.map((book) => (book < 0 ? null : data.figures[book][at]));
    const broken = new Map();
    for (const item of data.deviations[row] || []) if (!broken.has(item[0])) broken.set(item[0], item);
    const lines = data.lists[data.checked[row]].map((index) => this.ruleLine(index, broken.get(index), figure, detail));
    const ruled = new Set(data.lists[data.checked[row]].map((index) => data.rules[data.strings[index]]?.[2]));
    data.figureNames.forEach((name, at) => {
      const values = figure(at);
      if (ruled.has(at) || values.every((value) => value === null)) return;
      lines.push({ off: this.apart(values[0], values[1]), cells: ["", name, ...values.map(shown), difference(values[0], values[1])] });
    });
    lines.sort((one, other) => Number(Boolean(other.status)) - Number(Boolean(one.status)));
    const heads = ["rule", "formula", "expected", "observed", "claimed", "reference", "Δ"];
    const body = lines.map(({ status, off, cells, title }) => element("tr", { class: status ? `parts s-${status}` : off ? "parts s-new" : "" },
      element(cells[0] ? "th" : "td", { scope: cells[0] ? "row" : null, title: title || null }, ...(status ? [element("span", { "aria-hidden": "true", text: `${data.statuses[status].shape} ` }), element("span", { class: "hidden", text: `${data.statuses[status].word}: ` })] : []), cells[0]),
      ...cells.slice(1).map((value, at) => element("td", at === 0 ? {} : { class: "n" }, at === 0 ? element("code", { text: value }) : value))));
    const held = lines.filter((line) => line.cells[0] && !line.status).length;
    const parts = [element("h3", { text: `Rules: ${broken.size} broken, ${held} hold` }),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Rules and accounts" }, element("table", { class: "reckoning" },
        element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })))), element("tbody", {}, ...body)))];
    if (detail) parts.push(element("details", {}, element("summary", { text: "The contract's quantities here" }),
      ...detail.formulas.map((text) => element("p", { class: "message", text }))));
    return parts;
  }

  ruleLine(index, item, figure, detail) {
    const data = this.data;
    const rule = data.strings[index];
    const [statement, symbols, at] = data.rules[rule] || ["", "", -1];
    const values = at < 0 ? [null, null, null, null] : figure(at);
    if (rule === "claim") values[0] = values[1];
    const number = values[0] !== null;
    if (!item) {
      const formula = rule === "target" && detail ? detail.formulas[0] : symbols;
      return { cells: [rule, formula, number ? shown(values[0]) : "✓ holds", ...values.slice(1).map(shown), number ? "0" : ""], title: statement };
    }
    const [expected, got] = [data.strings[item[3]], data.strings[item[4]]];
    const claims = ["claim", "plan", "epoch", "log", "tokens", "save", "eval"].includes(rule);
    const seen = claims ? [number ? shown(values[1]) : "–", got] : [got, number ? shown(values[2]) : "–"];
    return { status: item[1], title: statement,
      cells: [rule, data.strings[item[5]], expected, ...seen, number ? shown(values[3]) : "–", difference(expected, got)] };
  }

  apart(one, other) {
    return typeof one === "number" && typeof other === "number" && one !== other;
  }

  drawings(row, detail) {
    const data = this.data;
    const twin = detail.reference ? data.details[detail.reference] : null;
    const names = [data.strings[data.subject[row]], "hf"];
    const parts = [element("h3", { text: "Events" }), ...lanesFigure(detail.lanes, twin?.lanes, names)];
    if (detail.books) parts.push(element("h3", { text: "Weights" }), ...booksFigure(detail.books));
    if (detail.curves) parts.push(element("h3", { text: "Curves" }), ...curvesFigure(detail.curves, twin?.curves, names));
    return parts;
  }

  skipped(row) {
    const data = this.data;
    const skipped = data.lists[data.unsupported[row]];
    const lines = [];
    for (let at = 0; at < skipped.length; at += 2) {
      lines.push(element("div", {}, element("dt", { text: data.strings[skipped[at]] }), element("dd", { text: data.strings[skipped[at + 1]] })));
    }
    return lines.length ? [element("h3", { text: "Rules that could not be judged here" }), element("dl", { class: "facts-of" }, ...lines)] : [];
  }

  // The scenario as a difference from the default one.
  scenario(row) {
    const data = this.data;
    const all = data.fields.map((name, field) => ({ name, value: fieldOf(data, field, row), usual: data.defaults[field] }));
    const word = (value) => (value === null ? "none" : String(value));
    const differs = all.filter(({ value, usual }) => value !== usual);
    const pair = ({ name, value, usual }, at) => element("div", {}, element("dt", { text: name }),
      element("dd", {}, element("strong", { text: word(value) }), ...(at === "all" ? [] : [element("small", { text: ` default ${word(usual)}` })])));
    const same = all.filter(({ value, usual }) => value === usual);
    return [element("h3", { text: differs.length ? "Scenario, where it is not the default" : "Scenario: the default in every field" }),
      element("dl", { class: "fields" }, ...differs.map(pair)),
      element("details", {}, element("summary", { text: `${same.length} fields at their default` }), element("dl", { class: "fields" }, ...same.map((one) => pair(one, "all"))))];
  }

  about(row) {
    const data = this.data;
    const about = `contract ${data.strings[data.contract[row]]} · cell ${data.id[row]}`;
    return element("p", { class: "note", text: data.seconds[row] === null ? about : `${about} · ${data.seconds[row]} s` });
  }
}

// The difference of two figures, or of the numbers that two texts begin with; of fractions, their ratio.
function difference(expected, got) {
  const read = (value) => (typeof value === "number" ? [value, false] : [
    ...(String(value).match(/^-?[\d.,]+(?:e[+-]?\d+)?(?:\s*\/\s*[\d.]+)?/) || [""])].map((text) => {
    const [above, below] = text.replaceAll(",", "").split("/").map(Number);
    return text === "" || Number.isNaN(above) ? [null, false] : below ? [above / below, true] : [above, false];
  })[0]);
  const [[one, first], [other, second]] = [read(expected), read(got)];
  if (one === null || other === null) return "";
  if ((first || second) && one) return one === other ? "0" : `× ${shown(Number((other / one).toPrecision(4)))}`;
  const apart = Math.round((other - one) * 1e9) / 1e9;
  return apart === 0 ? "0" : `${apart > 0 ? "+" : "−"}${shown(Math.abs(apart))}`;
}

function command(text) {
  const button = element("button", { type: "button", class: "copy", text: "Copy" });
  return element("div", { class: "command" }, element("span", { class: "prompt", text: "Reproduce with" }),
    element("pre", { tabindex: "0" }, element("code", { text })), button);
}
