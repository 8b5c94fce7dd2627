// The selection grammar of the command line: terms separated by spaces, all must hold; `!` negates; `key:value`,
// `key:>1`, `key:2..8`, `key:..8`, `key:a,b`. Beyond it, a word that is no flag is looked for in subject, scenario and id.
const STANDINGS = ["new", "known", "drifted", "expired", "informational"];
const VERDICTS = ["conforms", "deviates", "flaky", "error", "unsupported"];
const ALIASES = {
  accum: "grad_accum", batch: "per_device_batch_size", clip: "max_grad_norm", eval: "eval_steps",
  logging: "logging_steps", lr: "learning_rate", protocol: "loss_protocol", resume: "resume_at", save: "save_steps",
  schedule: "lr_schedule", warmup: "warmup_steps",
  dataloader_drop_last: "drop_last", gradient_accumulation_steps: "grad_accum", lr_scheduler_type: "lr_schedule",
  num_train_epochs: "epochs", optim: "optimizer", per_device_train_batch_size: "per_device_batch_size",
};
const NUMBER = "[+-]?(?:\\d+(?:\\.\\d+)?|\\.\\d+)(?:[eE][+-]?\\d{1,4})?";
const COMPARED = new RegExp(`^(>=|<=|>|<|)(${NUMBER})$`);
const BETWEEN = new RegExp(`^(?=.*\\d)(${NUMBER})?\\.\\.(${NUMBER})?$`);

// Splits into terms; a quoted part may hold spaces and commas.
function termsOf(text) {
  return (text.match(/(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+/gs) || []).map((term) => {
    const negated = term.startsWith("!");
    const body = negated ? term.slice(1) : term;
    const split = body.match(/^([\w-]+):(.*)$/s);
    if (!split) return { term, negated, key: null, values: [unquoted(body)] };
    const parts = split[2].match(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/gs) || [];
    return { term, negated, key: split[1].replaceAll("-", "_"), values: parts.map(unquoted) };
  });
}

function unquoted(part) {
  const quoted = part.match(/^"((?:[^"\\]|\\.)*)"?$/s);
  return quoted ? { text: quoted[1].replace(/\\(.)/gs, "$1"), bare: false } : { text: part, bare: true };
}

// A word matches itself, a pattern with *, and a text that goes on with @, such as a version.
function textTest(value) {
  const wanted = value.text;
  if (wanted.includes("*")) {
    const pattern = wanted.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*");
    const expression = new RegExp(`^${pattern}$`, "s");
    return (text) => expression.test(text);
  }
  return (text) => text === wanted || text.split("@")[0] === wanted;
}

// Returns a test for numbers, or null when the value is none.
function numberTest(value) {
  const between = value.bare && value.text.match(BETWEEN);
  if (between) return (x) => Number(between[1] ?? -Infinity) <= x && x <= Number(between[2] ?? Infinity);
  const compared = value.bare && value.text.match(COMPARED);
  if (!compared) return null;
  const wanted = Number(compared[2]);
  const tests = { ">": (x) => x > wanted, ">=": (x) => x >= wanted, "<": (x) => x < wanted, "<=": (x) => x <= wanted };
  return tests[compared[1]] || ((x) => x === wanted);
}

function plainTest(value) {
  const number = numberTest(value);
  const text = textTest(value);
  return (plain) => {
    if (plain === null) return value.text === "none";
    if (typeof plain === "number") return number !== null && number(plain);
    return text(String(plain));
  };
}

function nearest(word, names) {
  const distance = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, at) => at);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
      row = next;
    }
    return row[b.length];
  };
  const ranked = names.map((name) => [distance(word.slice(0, 40), name), name]).sort((x, y) => x[0] - y[0]);
  return ranked.length && ranked[0][0] <= Math.max(2, word.length / 2) ? ranked[0][1] : null;
}

function hint(word, names) {
  const near = nearest(word, names);
  return near === null ? "" : `; did you mean “${near}”?`;
}

// Returns {test} of a row number, or {problem}: what is wrong with the text.
function compiled(text, data) {
  const tests = [];
  for (const term of termsOf(text)) {
    if (term.values.length === 0 || term.values.some((value) => value.text === "" && value.bare)) {
      return { problem: `“${term.term}” has no value` };
    }
    const made = term.key === null ? wordTest(term.values[0], data) : keyTest(term, data);
    if (made.problem) return made;
    tests.push(term.negated ? (row) => !made.test(row) : made.test);
  }
  return { test: (row) => tests.every((test) => test(row)) };
}

function wordTest(value, data) {
  const word = value.text;
  if (value.bare && [...STANDINGS, ...VERDICTS].includes(word)) return { test: (row) => stands(data, row, word) };
  const field = value.bare ? data.fields.indexOf(word.replaceAll("-", "_")) : -1;
  if (field >= 0 && data.scenario[field].values.every((plain) => typeof plain === "boolean")) {
    return { test: (row) => fieldOf(data, field, row) === true };
  }
  const wanted = word.toLowerCase();
  const inText = data.strings.map((text) => text.toLowerCase().includes(wanted));
  return { test: (row) => inText[data.label[row]] || inText[data.subject[row]] || data.id[row].toLowerCase().includes(wanted) };
}

function stands(data, row, word) {
  return data.verdict[row] === word || (data.deviations[row] || []).some((item) => item[1] === word);
}

function keyTest(term, data) {
  const key = ALIASES[term.key] || term.key;
  const any = (tests) => (value) => tests.some((test) => test(value));
  const texts = term.values.map(textTest);
  if (key === "verdict" || key === "standing") {
    const words = key === "verdict" ? VERDICTS : STANDINGS;
    const wrong = term.values.find((value) => !words.some(textTest(value)));
    if (wrong) return { problem: `${key} is never “${wrong.text}”${hint(wrong.text, words)}` };
    const allowed = words.filter(any(texts));
    return { test: (row) => allowed.some((word) => stands(data, row, word)) };
  }
  if (key === "subject" || key === "contract" || key === "label") {
    const allowed = data.strings.map(any(texts));
    return { test: (row) => allowed[data[key][row]] };
  }
  if (key === "rule") {
    const allowed = data.strings.map(any(texts));
    return { test: (row) => (data.deviations[row] || []).some((item) => allowed[item[0]]) };
  }
  if (key === "id") return { test: (row) => any(texts)(data.id[row]) };
  const field = data.fields.indexOf(key);
  const figure = key === "seconds" || Object.hasOwn(data.account, key);
  if (field < 0 && !figure) {
    const names = ["subject", "verdict", "standing", "rule", "id", "contract", "seconds", ...Object.keys(data.account), ...Object.keys(ALIASES), ...data.fields];
    return { problem: `there is no field “${term.key}”${hint(term.key, names)}` };
  }
  const values = figure ? [] : data.scenario[field].values;
  const numeric = figure || (values.some((plain) => typeof plain === "number") && values.every((plain) => plain === null || typeof plain === "number"));
  const wrong = numeric && term.values.find((value) => value.text !== "none" && numberTest(value) === null);
  if (wrong) return { problem: `${term.key} holds numbers, not “${wrong.text}”; write 4, >1, <=8 or 2..8` };
  const test = any(term.values.map(plainTest));
  if (figure) return { test: (row) => test(key === "seconds" ? data.seconds[row] : stepsOf(data, key, row)) };
  const allowed = values.map(test);
  const index = data.scenario[field].index;
  return { test: (row) => allowed[index === null ? 0 : index[row]] };
}

function fieldOf(data, field, row) {
  const column = data.scenario[field];
  return column.values[column.index === null ? 0 : column.index[row]];
}

function stepsOf(data, account, row) {
  const at = data.account[account][row];
  return at < 0 ? null : data.figures[at][0];
}
