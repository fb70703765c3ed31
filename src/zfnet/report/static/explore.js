// What the explorers share: scripts and sprite sheets read when they are needed, tiles drawn from
// them, groups of choices moved through by arrow keys, plotly.js only where a chart is wanted.
"use strict";
window.zfnetExplore = (function () {
  const scripts = new Map();
  const pictures = new Map();
  let drawing = [];

  // Data comes by <script>: a page opened from disk may not fetch.
  function script(src) {
    if (!scripts.has(src)) {
      scripts.set(
        src,
        new Promise(function (done, failed) {
          const tag = document.createElement("script");
          tag.src = src;
          tag.onload = done;
          tag.onerror = function () {
            scripts.delete(src); // another try may find it
            failed(new Error(src + " could not be read"));
          };
          document.head.append(tag);
        })
      );
    }
    return scripts.get(src);
  }

  function picture(src) {
    if (!pictures.has(src)) {
      const image = new Image();
      image.src = src;
      const ready = image.decode().then(() => image);
      pictures.set(
        src,
        ready.catch(function () {
          pictures.delete(src);
          throw new Error(src + " could not be read");
        })
      );
    }
    return pictures.get(src);
  }

  // A canvas of one tile; `draw` fills it once the sheet is there.
  function canvas(label) {
    const item = document.createElement("canvas");
    item.dataset.drawn = "";
    if (label) {
      item.setAttribute("role", "img");
      item.setAttribute("aria-label", label);
    } else {
      item.setAttribute("aria-hidden", "true");
    }
    return item;
  }

  function draw(item, sheet, index) {
    item.dataset.tile = sheet.src + "#" + index;
    item.dataset.drawn = "";
    const done = picture(sheet.src).then(function (image) {
      if (item.dataset.tile !== sheet.src + "#" + index) return; // another was chosen meanwhile
      const x = (index % sheet.columns) * sheet.w;
      const y = Math.floor(index / sheet.columns) * sheet.h;
      item.width = sheet.w;
      item.height = sheet.h;
      item.classList.toggle("pixels", sheet.w < 40);
      item.getContext("2d").drawImage(image, x, y, sheet.w, sheet.h, 0, 0, sheet.w, sheet.h);
      item.dataset.drawn = "yes";
    });
    drawing.push(done);
    return done;
  }

  // plotly.js is large: it waits until the pictures stand.
  function plotly() {
    const before = drawing;
    drawing = [];
    return Promise.allSettled(before).then(() => script("assets/plotly.min.js"));
  }

  // A page's data: `data` holds what its scripts hand to window[call], `need` reads one of them;
  // `start` is called once the page and "meta" are there.
  function page(call, folder, start) {
    const data = {};
    window[call] = function (key, value) {
      data[key] = value;
    };
    document.addEventListener("DOMContentLoaded", function () {
      if (data.meta) start(data.meta);
      else tell(new Error(folder + "meta.js could not be read"));
    });
    function need(key, file) {
      if (data[key]) return Promise.resolve(data[key]);
      return script(folder + file + ".js").then(() => data[key]);
    }
    return { data, need };
  }

  // A radio group of buttons: one stop of the Tab key, arrows choose. `beyond` is told how far an
  // arrow goes over the first or last of them.
  function choices(group, choose, beyond) {
    group.setAttribute("role", "radiogroup");
    const items = () => Array.from(group.querySelectorAll('[role="radio"]'));

    function mark(chosen) {
      items().forEach(function (item) {
        const on = item === chosen;
        item.setAttribute("aria-checked", String(on));
        item.tabIndex = on ? 0 : -1;
      });
    }

    // in a single row Up and Down do what Left and Right do
    function columns(all) {
      const top = all[0].offsetTop;
      const next = all.findIndex((item) => item.offsetTop > top);
      return next < 0 ? 1 : next;
    }

    group.addEventListener("click", function (event) {
      const item = event.target.closest('[role="radio"]');
      if (item) choose(Number(item.dataset.value));
    });
    group.addEventListener("keydown", function (event) {
      const all = items();
      const here = all.indexOf(document.activeElement);
      if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const steps = {
        ArrowRight: 1,
        ArrowLeft: -1,
        ArrowDown: columns(all),
        ArrowUp: -columns(all),
        Home: -here,
        End: all.length - 1 - here,
      };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const there = all[here + steps[event.key]];
      if (!there) {
        if (beyond) beyond(steps[event.key]);
        return;
      }
      there.focus();
      choose(Number(there.dataset.value));
    });
    return { mark: (value) => mark(items().find((item) => Number(item.dataset.value) === value)) };
  }

  function choice(value, label) {
    const item = document.createElement("button");
    item.type = "button";
    item.setAttribute("role", "radio");
    item.setAttribute("aria-checked", "false");
    item.setAttribute("aria-label", label);
    item.tabIndex = -1;
    item.dataset.value = value;
    return item;
  }

  // Keeps the chosen item of a scrolled list in sight, without moving the page.
  function reveal(item, list) {
    const box = item.getBoundingClientRect();
    const frame = list.getBoundingClientRect();
    if (box.top < frame.top) list.scrollTop -= frame.top - box.top + 8;
    if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom + 8;
    if (box.left < frame.left) list.scrollLeft -= frame.left - box.left + 8;
    if (box.right > frame.right) list.scrollLeft += box.right - frame.right + 8;
  }

  // A plot's layout: small, and not to be dragged, since the pages are touched to look about.
  function layout(more) {
    const common = { margin: { l: 44, r: 10, t: 8, b: 40 }, dragmode: false };
    const plot = window.zfnetPlots.layout(Object.assign(common, more), { fixedrange: true });
    plot.font.size = 12;
    return plot;
  }

  function number(value) {
    if (value === null || value === undefined) return "none";
    return String(Number(value.toPrecision(3)));
  }

  // What could not be read is told on the page, until something else could.
  function tell(error) {
    const place = document.getElementById("trouble");
    place.textContent = error.message + ": build the report again.";
    place.hidden = false;
  }

  function calm() {
    document.getElementById("trouble").hidden = true;
  }

  // Lays a box over a picture of px x px: `rect` is y0, x0, y1, x1 in those px.
  function frame(box, [y0, x0, y1, x1], px) {
    const share = (value) => (100 * value) / px + "%";
    box.style.top = share(y0);
    box.style.left = share(x0);
    box.style.height = share(y1 - y0);
    box.style.width = share(x1 - x0);
  }

  // One entry of a list of facts.
  function fact(list, name, value) {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    list.append(row);
    return text;
  }

  return {
    page, canvas, draw, plotly, choices, choice, reveal, frame, layout, number, tell, calm, fact,
  };
})();
