// The page of `zfnet label`: one picture after the other, answers kept in this browser. The data
// hold no answer to a picture that counts.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("label-data").textContent);
  const place = ["zfnet-label", data.fingerprint.slice(0, 16), data.seed, data.test.length, data.px].join("-");
  const buttons = [...document.querySelectorAll(".class")];
  const items = [
    ...data.practice.map((item, i) => ({ ...item, phase: "practice", order: i + 1 })),
    ...data.test.map((item, i) => ({ ...item, phase: "test", order: i + 1 })),
  ];
  let state = { name: "", rows: [] };
  let choice = null; // a class id; "" for cannot tell
  let revealed = false;
  let spent = 0; // ms on this picture before `since`
  let since = 0; // 0 while the page is hidden

  // ---------------------------------------------------------------------------------- keeping
  function load() {
    try {
      const stored = JSON.parse(localStorage.getItem(place) || "null");
      const whole = stored && typeof stored.name === "string" && Array.isArray(stored.rows);
      // what is stored must be the beginning of this page's pictures
      if (whole && stored.rows.every((row, i) => items[i] && row[0] === items[i].id)) state = stored;
      localStorage.setItem(place + "-test", "1");
      localStorage.removeItem(place + "-test");
    } catch {
      at("lost").hidden = false;
    }
  }
  function keep() {
    try {
      localStorage.setItem(place, JSON.stringify(state));
    } catch {
      at("lost").hidden = false;
    }
  }

  // ------------------------------------------------------------------------------------- time
  const elapsed = () => spent + (since ? performance.now() - since : 0);
  const pause = () => { spent = elapsed(); since = 0; };
  const go = () => { if (!since && !document.hidden) since = performance.now(); };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) pause();
    else if (!at("work").hidden && !revealed) go();
  });
  setInterval(() => { at("timer").textContent = `${Math.floor(elapsed() / 1000)} s`; }, 250);

  // ---------------------------------------------------------------------------------- showing
  function open(section) {
    for (const id of ["start", "work", "done"]) at(id).hidden = id !== section;
  }
  function show() {
    const item = items[state.rows.length];
    if (!item) return finish();
    open("work");
    const of = item.phase === "test" ? data.test.length : data.practice.length;
    at("phase").textContent = item.phase === "test" ? "What is it?" : "Practice: what is it?";
    at("count").textContent = `${item.phase === "test" ? "Picture" : "Practice picture"} ${item.order} of ${of}`;
    at("progress").value = (item.order - 1) / of;
    at("picture").src = item.src;
    at("feedback").hidden = true;
    at("confidence").value = at("reason").value = at("search").value = "";
    for (const button of buttons) button.classList.remove("truth");
    revealed = false;
    say("Answer");
    filter();
    choose(null);
    spent = since = 0;
    go();
  }
  const say = (words) => { at("next").firstElementChild.textContent = words; };
  function choose(id) {
    choice = id;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.id === id));
    at("none").setAttribute("aria-pressed", String(id === ""));
    at("next").disabled = id === null;
  }
  function answer() {
    if (choice === null) return;
    const item = items[state.rows.length];
    if (revealed) return store(item);
    pause();
    if (item.phase === "test") return store(item);
    revealed = true;
    say("Go on");
    const truth = buttons.find((button) => button.dataset.id === item.class);
    const name = truth.querySelector(".name").lastChild.textContent.trim();
    truth.classList.add("truth");
    at("feedback").className = choice === item.class ? "right" : "";
    at("feedback").textContent = choice === item.class ? `Right: ${name}.` : `It is labelled ${name}.`;
    at("feedback").hidden = false;
  }
  function store(item) {
    state.rows.push([
      item.id, state.name, choice, at("confidence").value, (spent / 1000).toFixed(2),
      at("reason").value, item.phase, item.order, data.px, "", data.version, data.fingerprint,
    ]);
    keep();
    show();
    if (matchMedia("(max-width: 46rem)").matches) scrollTo(0, 0);
  }
  function finish() {
    open("done");
    const own = state.rows.filter((row) => row[6] === "test");
    at("summary").textContent = `${own.length} pictures; labelled by: ${state.name}`;
    at("file").textContent = fileName();
  }

  // ------------------------------------------------------------------------------------- file
  const fileName = () => `zfnet-answers-${state.name.toLowerCase().match(/[\p{L}\p{N}]+/gu).join("-")}.csv`;
  const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  function download() {
    const lines = [data.columns, ...state.rows].map((row) => row.map(cell).join(",") + "\n");
    const url = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = fileName();
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  // ------------------------------------------------------------------------------------ input
  function filter() {
    const wanted = at("search").value.trim().toLowerCase();
    for (const button of buttons) button.hidden = !button.dataset.name.includes(wanted);
    at("nothing").hidden = buttons.some((button) => !button.hidden);
  }
  const pick = (id) => { if (!revealed) choose(id); };
  for (const button of buttons) button.addEventListener("click", () => pick(button.dataset.id));
  at("none").addEventListener("click", () => pick(""));
  at("next").addEventListener("click", answer);
  at("so-far").addEventListener("click", download);
  at("download").addEventListener("click", download);
  at("search").addEventListener("input", filter);
  at("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      const first = buttons.find((button) => !button.hidden);
      if (first && at("search").value.trim()) pick(first.dataset.id);
    }
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    at("search").value = "";
    filter();
    at("search").blur();
    event.stopPropagation();
  });
  document.addEventListener("keydown", (event) => {
    if (at("work").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input, select, summary")) return;
    const key = event.key.toLowerCase();
    const button = buttons.find((each) => each.dataset.key === key);
    if (button) pick(button.dataset.id);
    else if (key === "0") pick("");
    else if (key === "/") at("search").focus();
    else if (key === "enter" && !(event.target.closest("button") && choice === null)) answer();
    else return;
    event.preventDefault(); // also of a button that has the focus: Enter goes on
  });
  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    state.name = at("name").value.trim();
    keep();
    show();
  });
  at("afresh").addEventListener("click", () => {
    if (!confirm("Forget all answers of this page in this browser?")) return;
    state = { name: "", rows: [] };
    keep();
    location.reload();
  });

  load();
  if (state.rows.length) {
    const item = items[state.rows.length];
    if (!item) finish();
    else {
      at("name").value = state.name;
      at("name").readOnly = true; // one person a file
      at("going").hidden = false;
      at("going").textContent = `You go on at ${item.phase === "test" ? "picture" : "practice picture"} ${item.order}.`;
      at("who").querySelector("button").textContent = "Go on";
    }
  }
})();
