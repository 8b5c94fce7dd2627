// Binds the page together: the hash holds the search (`q`) and the open cell (`cell`), so that a link shows the same.
const state = { q: "", cell: null };

function fragment(changes) {
  const next = { ...state, ...changes };
  const parts = [];
  if (next.q) parts.push(`q=${encodeURIComponent(next.q)}`);
  if (next.cell) parts.push(`cell=${encodeURIComponent(next.cell)}`);
  return parts.join("&");
}

function copy(text, button) {
  const before = button.textContent;
  const tell = (word) => {
    button.textContent = word;
    document.getElementById("said").textContent = word;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  const old = () => {
    const area = element("textarea", { class: "hidden" });
    area.value = text;
    button.parentElement.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    button.focus();
    tell(done ? "Copied" : "Not copied");
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => tell("Copied"), old);
  else old();
}

function start() {
  const data = readIsland();
  document.documentElement.classList.add("scripted");
  const table = new CellTable(data);
  const box = document.getElementById("query");
  const problem = document.getElementById("query-problem");
  const found = document.getElementById("found");

  const search = (text) => {
    const made = compiled(text, data);
    box.setAttribute("aria-invalid", made.problem ? "true" : "false");
    problem.textContent = made.problem ? `${made.problem}. The table below is as before.` : "";
    if (made.problem) return;
    table.show(made.test);
    const all = shown(data.id.length);
    found.textContent = table.rows.length === data.id.length ? all : `${shown(table.rows.length)} of ${all}`;
  };

  const go = (changes) => {
    const hash = fragment(changes);
    if (hash === fragment({})) return;
    if (hash) location.hash = hash;
    else { history.pushState(null, "", location.pathname + location.search); follow(); }
  };
  const panel = new CellPanel(data, table, go);

  // Reads the hash. `#cells` and the like are places on the page, not state.
  function follow(first = false) {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) { if (state.cell) { state.cell = null; panel.close(); } return; }
    const read = Object.fromEntries(hash.split("&").filter(Boolean).map((part) => {
      const at = part.indexOf("=");
      try { return [part.slice(0, at), decodeURIComponent(part.slice(at + 1))]; } catch { return [part.slice(0, at), part.slice(at + 1)]; }
    }));
    const q = read.q || "";
    const searched = q !== state.q;
    if (searched || first) { state.q = q; box.value = q; search(q); }
    if (searched && !read.cell) document.getElementById("cells").scrollIntoView();
    if ((read.cell || null) !== state.cell) {
      state.cell = read.cell || null;
      if (state.cell) panel.open(state.cell); else panel.close();
    }
  }

  box.addEventListener("input", () => {
    state.q = box.value;
    search(box.value);
    history.replaceState(null, "", `${location.pathname}${location.search}${fragment({}) ? "#" + fragment({}) : ""}`);
  });
  for (const chip of document.querySelectorAll("[data-query]")) chip.addEventListener("click", () => go({ q: chip.dataset.query }));
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) copy(button.parentElement.querySelector("code").textContent, button);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, dialog");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); box.focus(); box.select(); }
    if (event.key === "ArrowDown" && event.target === box && table.rows.length) { event.preventDefault(); table.focus(0); }
  });
  window.addEventListener("hashchange", () => follow());
  window.addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("main details:not(.help)")) one.open = true; });
  walkTables();
  follow(true);
}

start();
