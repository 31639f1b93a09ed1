"use strict";
(() => {
  const data = JSON.parse(document.getElementById("query-data").textContent);
  const part = document.querySelector("#queries .all");
  const [box, body, told, more] = ["input", "tbody", ".told", ".more"].map((name) => part.querySelector(name));
  const choice = part.querySelector("select");
  const judged = data.metrics.length > 0;
  const searched = data.id.map((id, n) => `${id}\n${data.text[n]}`.toLowerCase());
  let metric = 0, sorted = judged && data.reranked ? "change" : judged ? "before" : "moved";
  let down = sorted === "moved", shown = 50, order = [];

  const columns = {
    query: (n) => data.text[n] || data.id[n],
    before: (n) => data.before[metric][n],
    after: (n) => data.after[metric][n],
    change: (n) => data.after[metric][n] - data.before[metric][n],
    moved: (n) => data.moved[n],
    fresh: (n) => data.fresh[n],
  };
  const sign = (value) => (Math.abs(value) < 0.0005 ? 0 : Math.sign(value));
  const signed = (value) => "−±+"[sign(value) + 1] + Math.abs(value).toFixed(3);
  const words = {
    before: (value) => value.toFixed(3),
    after: (value) => value.toFixed(3),
    change: signed,
    moved: (value) => value.toFixed(1),
    fresh: String,
  };

  const cell = (row, text, kind) => {
    const made = row.insertCell();
    made.textContent = text;
    made.className = kind;
    return made;
  };
  const add = (n, names) => {
    const row = body.insertRow();
    const query = cell(row, "", "any");
    const text = document.createElement("bdi");
    text.textContent = data.text[n];
    const id = document.createElement("small");
    id.textContent = data.id[n];
    query.append(text, id);
    for (const name of names) {
      const value = columns[name](n);
      const made = cell(row, words[name](value), "n");
      if (name === "change" && sign(value)) made.classList.add(value > 0 ? "up" : "down");
    }
  };

  const heads = [...part.querySelectorAll("th[data-key]")];
  const names = heads.map((head) => head.dataset.key).filter((name) => name !== "query");
  const fill = () => {
    body.replaceChildren();
    for (const n of order.slice(0, shown)) add(n, names);
    told.textContent = `${order.length.toLocaleString("en")} of ${data.id.length.toLocaleString("en")} queries`;
    more.hidden = shown >= order.length;
  };
  const draw = () => {
    const typed = box.value.trim().toLowerCase().split(/\s+/);
    order = [...data.id.keys()].filter((n) => typed.every((word) => searched[n].includes(word)));
    const key = columns[sorted];
    const compare = sorted === "query" ? (a, b) => key(a).localeCompare(key(b)) : (a, b) => key(a) - key(b);
    order.sort((a, b) => (down ? compare(b, a) : compare(a, b)) || a - b);
    for (const head of heads) {
      const mine = head.dataset.key === sorted;
      head.setAttribute("aria-sort", mine ? (down ? "descending" : "ascending") : "none");
    }
    fill();
  };

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      down = head.dataset.key === sorted ? !down : ["moved", "fresh"].includes(head.dataset.key);
      sorted = head.dataset.key;
      shown = 50;
      draw();
    });
  }
  box.addEventListener("input", () => { shown = 50; draw(); });
  if (choice) choice.addEventListener("change", () => { metric = choice.selectedIndex; draw(); });
  more.addEventListener("click", () => { shown += 200; fill(); });
  part.hidden = false;
  draw();
})();
