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
      if (event.target.closest("pre")) return;
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
    const deviations = data.deviations[row] || [];
    if (deviations.length) {
      const title = `${deviations.length} ${deviations.length === 1 ? "rule is" : "rules are"} broken`;
      parts.push(element("h3", { text: title }), ...deviations.map((item) => this.finding(item, row)));
    }
    parts.push(...this.accounts(row), ...this.rules(row), ...this.scenario(row));
    return parts;
  }

  filled(index, row) {
    return this.data.strings[index].replaceAll("{id}", this.data.id[row]);
  }

  finding(item, row) {
    const [rule, standing, known, expected, got, formula, event, update, what, reproduce] = item;
    const text = (index) => this.data.strings[index];
    const at = [event === null ? "" : `event ${shown(event)}`, update === null ? "" : `update ${shown(update)}`].filter(Boolean).join(", ");
    const facts = [["formula", text(formula)], ["books part at", at ? `${at}: ${text(what)}` : text(what)]];
    if (text(known)) facts.push(["known as", text(known)]);
    if (reproduce !== this.data.reproduce[row]) facts.push(["reproduce with", this.filled(reproduce, row)]);
    return element("div", { class: `finding s-${standing}` },
      element("h4", {}, badge(this.data, standing), ` ${text(rule)}`),
      element("div", { class: "versus" },
        element("div", {}, element("span", { class: "tag", text: "expected" }), element("span", { class: "value", text: text(expected) })),
        element("div", { class: "got" }, element("span", { class: "tag", text: "got" }), element("span", { class: "value", text: text(got) }))),
      element("dl", { class: "facts-of" }, ...facts.map(([name, value]) =>
        element("div", {}, element("dt", { text: name }), element("dd", { text: value })))));
  }

  accounts(row) {
    const data = this.data;
    const books = ["expected", "observed", "claimed", "reference"].map((name) => data.account[name][row]);
    if (books[0] < 0) return [];
    const values = (at) => books.map((book) => (book < 0 ? null : data.figures[book][at]));
    const lines = data.figureNames.map((name, at) => [name, values(at)]).filter(([, given]) => given.some((value) => value !== null));
    const body = lines.map(([name, given]) => {
      const parts = new Set(given.filter((value) => value !== null)).size > 1;
      const [expected, observed] = given;
      const both = typeof expected === "number" && typeof observed === "number";
      const delta = both && observed !== expected ? `${observed > expected ? "+" : "−"}${shown(Math.abs(Math.round((observed - expected) * 1e9) / 1e9))}` : both ? "0" : "";
      return element("tr", { class: parts ? "parts" : "" },
        element("th", { scope: "row" }, ...(parts ? [element("span", { "aria-label": "accounts differ", text: "≠" }), " "] : []), name),
        ...given.map((value) => element("td", { text: shown(value) })), element("td", { text: delta }));
    });
    const heads = ["expected", "observed", "claimed", "reference", "observed − expected"];
    return [element("h3", { text: "Accounts" }), element("table", { class: "accounts s-new" },
      element("thead", {}, element("tr", {}, element("td"), ...heads.map((text) => element("th", { scope: "col", text })))),
      element("tbody", {}, ...body))];
  }

  rules(row) {
    const data = this.data;
    const broken = new Set((data.deviations[row] || []).map((item) => item[0]));
    const held = data.lists[data.checked[row]].filter((rule) => !broken.has(rule)).map((rule) => data.strings[rule]);
    const skipped = data.lists[data.unsupported[row]];
    const parts = [];
    if (held.length) parts.push(element("h3", { text: `${held.length} rules hold` }), element("p", { text: held.join(", ") }));
    if (skipped.length) {
      const lines = [];
      for (let at = 0; at < skipped.length; at += 2) {
        lines.push(element("div", {}, element("dt", { text: data.strings[skipped[at]] }), element("dd", { text: data.strings[skipped[at + 1]] })));
      }
      parts.push(element("h3", { text: "Rules that could not be judged here" }), element("dl", { class: "facts-of" }, ...lines));
    }
    return parts;
  }

  scenario(row) {
    const data = this.data;
    const pair = (field) => {
      const value = fieldOf(data, field, row);
      return element("div", {}, element("dt", { text: data.fields[field] }), element("dd", { text: value === null ? "none" : String(value) }));
    };
    const all = data.fields.map((_, field) => field);
    const varies = all.filter((field) => data.scenario[field].index !== null);
    const same = all.filter((field) => data.scenario[field].index === null);
    const parts = [element("h3", { text: "Scenario" }), element("dl", { class: "fields" }, ...varies.map(pair))];
    if (same.length) {
      parts.push(element("details", {}, element("summary", { text: `${same.length} fields that are the same in every cell` }),
        element("dl", { class: "fields" }, ...same.map(pair))));
    }
    const about = `contract ${data.strings[data.contract[row]]} · cell ${data.id[row]}`;
    parts.push(element("p", { class: "note", text: data.seconds[row] === null ? about : `${about} · ${data.seconds[row]} s` }));
    return parts;
  }
}

function command(text) {
  const button = element("button", { type: "button", class: "copy", text: "Copy" });
  return element("div", { class: "command" }, element("span", { class: "prompt", text: "Reproduce with" }),
    element("pre", { tabindex: "0" }, element("code", { text })), button);
}
