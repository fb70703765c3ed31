// The occlusion explorer: window.zfnetOcclusion(key, value) takes what the data scripts hand over.
"use strict";
(function () {
  const x = window.zfnetExplore;
  const folder = "explore/occlusion/";
  const colours = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
    "#f0e442", "#7f7f7f", "#8c564b", "#4b4e9e", "#a6c64c", "#b8a9c9",
  ];
  const plots = window.zfnetPlots;
  const { data, need } = x.page("zfnetOcclusion", folder, start);
  const config = Object.assign({}, plots.config, { responsive: false }); // heats() follows the window
  const at = (id) => document.getElementById(id);
  const state = { image: 0, row: 0, col: 0 };
  let meta, images, waiting;

  const maps = () => data[state.image]; // undefined while an image's script is read
  const item = () => meta.items[state.image];
  const percent = (value) => (100 * value) / meta.px + "%";

  // ------------------------------------------------------------------------------ one image
  function chooseImage(number) {
    state.image = Math.max(0, Math.min(meta.items.length - 1, number));
    images.mark(state.image);
    const chosen = at("images").querySelector('[aria-checked="true"]');
    if (chosen) x.reveal(chosen, at("images"));
    history.replaceState(null, "", "#" + state.image);
    const wanted = state.image;
    return need(wanted, "image_" + wanted)
      .then(function () {
        if (wanted !== state.image) return;
        x.calm();
        showImage();
        worst("p");
        x.plotly()
          .then(() => wanted === state.image && heats())
          .catch(x.tell);
      })
      .catch(x.tell);
  }

  function tile(place) {
    return [meta.images.sheets[Math.floor(place / meta.images.a_sheet)], place % meta.images.a_sheet];
  }

  function showImage() {
    const one = item();
    const said = "Image " + (state.image + 1) + " of " + meta.items.length + ": " + one.true;
    at("title").textContent = said;
    x.draw(at("picture"), ...tile(one.place)).catch(x.tell);
    at("id").textContent = one.id;
    for (const box of document.querySelectorAll(".object")) {
      box.hidden = !maps().box;
      if (maps().box) x.frame(box, maps().box, meta.px);
    }
    const size = meta.size;
    for (const square of document.querySelectorAll(".occluder")) {
      square.style.width = square.style.height = percent(size);
    }
    if (meta.projections.length) {
      // a sheet of projections holds as many as a sheet of images, in the study's order
      const number = Math.floor(state.image / meta.images.a_sheet);
      x.draw(at("projection"), meta.projections[number], state.image % meta.images.a_sheet).catch(x.tell);
      at("projection").setAttribute("aria-label", "Projection of map " + one.map + " to the image");
    }
    at("p-name").textContent = at("p-head").textContent = probability(one);
    at("map-name").textContent = "Map " + one.map + " of layer " + meta.layer;
    at("map-head").textContent = "Activity of map " + one.map;
  }

  // The class whose probability is watched: the true one, or the net's own where it knows no such.
  function probability(one) {
    return (one.known ? "p(true class), " : "p(top class without occluder), ") + one.name;
  }

  // ------------------------------------------------------------------------------ one place
  function move(row, col) {
    if (!maps()) return;
    const rows = maps().rows.length;
    const cols = maps().cols.length;
    state.row = Math.max(0, Math.min(rows - 1, row));
    state.col = Math.max(0, Math.min(cols - 1, col));
    showPlace();
    if (waiting) return;
    waiting = window.requestAnimationFrame(function () {
      waiting = 0;
      cursors();
    });
  }

  function showPlace() {
    const now = maps();
    const one = item();
    const y = now.rows[state.row];
    const left = now.cols[state.col];
    for (const square of document.querySelectorAll(".occluder")) {
      square.style.top = percent(y);
      square.style.left = percent(left);
    }
    const p = now.p[state.row][state.col];
    const label = now.label[state.row][state.col];
    const activity = now.activity[state.row][state.col];
    const share = one.activity > 0 ? activity / one.activity : null;
    const size = meta.size;
    at("where").textContent = "rows " + y + " to " + (y + size) + ", columns " + left + " to " +
      (left + size) + " px";
    at("p").textContent = p.toFixed(3);
    at("p-clean").textContent = one.p.toFixed(3) + " without";
    at("p-bar").style.width = 100 * p + "%";
    at("p-mark").style.left = 100 * one.p + "%";
    at("label").textContent = meta.outputs[label];
    at("label-clean").textContent = label === one.label ? "as without" :
      meta.outputs[one.label] + " without";
    at("label").classList.toggle("changed", label !== one.label);
    at("activity").textContent = x.number(activity);
    at("activity-clean").textContent = x.number(one.activity) + " without" +
      (share === null ? "" : ", " + Math.round(100 * share) + " % of it left");
    // the bar ends at one and a half times the activity of the whole image
    at("activity-bar").style.width = Math.min(100, (100 * (share || 0)) / 1.5) + "%";
    at("activity-mark").style.left = 100 / 1.5 + "%";
    at("spoken").textContent = "Row " + (state.row + 1) + " of " + now.rows.length + ", column " +
      (state.col + 1) + " of " + now.cols.length + ": p " + p.toFixed(2) + ", " +
      meta.outputs[label] + ", activity " + x.number(activity);
  }

  // The place whose middle is nearest to a point, in px of the net's input.
  function nearest(starts, point) {
    let best = 0;
    starts.forEach(function (start, i) {
      const here = Math.abs(start + meta.size / 2 - point);
      if (here < Math.abs(starts[best] + meta.size / 2 - point)) best = i;
    });
    return best;
  }

  function follow(event) {
    if (!maps()) return;
    const box = event.currentTarget.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * meta.px;
    const left = ((event.clientX - box.left) / box.width) * meta.px;
    move(nearest(maps().rows, y), nearest(maps().cols, left));
  }

  const worst = (what) => maps() && move(...leastOf(maps()[what]));

  function keys(event) {
    const far = event.shiftKey ? 4 : 1;
    const steps = {
      ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far],
      Home: [0, -1e6], End: [0, 1e6], PageUp: [-1e6, 0], PageDown: [1e6, 0],
    };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move(state.row + steps[event.key][0], state.col + steps[event.key][1]);
  }

  // ------------------------------------------------------------------------------ heat maps
  const middles = (starts) => starts.map((start) => start + meta.size / 2);

  function outline() {
    const y = maps().rows[state.row];
    const left = maps().cols[state.col];
    const square = { type: "rect", x0: left, x1: left + meta.size, y0: y, y1: y + meta.size };
    return [
      Object.assign({ line: { color: "#000", width: 4 } }, square),
      Object.assign({ line: { color: "#fff", width: 2 } }, square),
    ];
  }

  function cursors() {
    if (!maps()) return;
    for (const id of ["heat-activity", "heat-p", "heat-label"]) {
      if (at(id).classList.contains("js-plotly-plot")) {
        window.Plotly.relayout(at(id), { shapes: outline() });
      }
    }
  }

  function leastOf(all) {
    let best = [0, 0];
    all.forEach((line, row) =>
      line.forEach(function (value, col) {
        if (value < all[best[0]][best[1]]) best = [row, col];
      })
    );
    return best;
  }

  // The plot is as wide as its figure and square: the axes of all three stand side by side alike.
  function heat(id, trace, least) {
    const now = maps();
    const place = at(id);
    const margin = { l: 48, r: 8, t: 6, b: trace.showscale === false ? 42 : 80 };
    const side = Math.max(60, place.clientWidth - margin.l - margin.r);
    const base = { type: "heatmap", x: middles(now.cols), y: middles(now.rows) };
    const bar = { orientation: "h", thickness: 10, x: 0.5, xref: "paper", y: 0, yref: "container",
      yanchor: "bottom", ypad: 4, len: 1, outlinewidth: 0, tickfont: { size: 11 } };
    const one = Object.assign(base, trace);
    if (one.showscale !== false) one.colorbar = bar;
    const mark = {
      type: "scatter", mode: "markers", x: [base.x[least[1]]], y: [base.y[least[0]]],
      marker: { symbol: "x-thin", size: 9, line: { width: 2, color: "#fff" } },
      hoverinfo: "skip", showlegend: false,
    };
    const axis = { range: [0, meta.px], showgrid: false, zeroline: false, ticks: "outside",
      automargin: false };
    const layout = x.layout({
      margin,
      autosize: false,
      width: side + margin.l + margin.r,
      height: side + margin.t + margin.b,
      xaxis: Object.assign({ title: { text: "column, px", standoff: 4 } }, axis),
      yaxis: Object.assign({ title: { text: "row, px", standoff: 2 } }, axis, { range: [meta.px, 0] }),
      shapes: outline(),
    });
    const fresh = !place.classList.contains("js-plotly-plot");
    return window.Plotly.react(place, [one, mark], layout, config).then(function () {
      if (!fresh) return;
      const point = (event) => move(...event.points[0].pointIndex);
      place.on("plotly_hover", point);
      place.on("plotly_click", point);
    });
  }

  function heats() {
    if (!maps()) return;
    const now = maps();
    const one = item();
    heat("heat-activity", { z: now.activity, colorscale: "Viridis",
      hovertemplate: "%{z:.3g}<extra></extra>" }, leastOf(now.activity));
    heat("heat-p", { z: now.p, zmin: 0, zmax: 1, colorscale: "Viridis",
      hovertemplate: "%{z:.3f}<extra></extra>" }, leastOf(now.p));
    const flat = now.label.flat();
    const seen = Array.from(new Set([one.label, ...flat]));
    const scale = seen.flatMap((_, i) => [
      [i / seen.length, colours[i % colours.length]],
      [(i + 1) / seen.length, colours[i % colours.length]],
    ]);
    heat("heat-label", {
      z: now.label.map((line) => line.map((label) => seen.indexOf(label))),
      text: now.label.map((line) => line.map((label) => meta.outputs[label])),
      zmin: -0.5, zmax: seen.length - 0.5, colorscale: scale, showscale: false,
      hovertemplate: "%{text}<extra></extra>",
    }, leastOf(now.p));
    at("legend").replaceChildren(
      ...seen.map(function (label, i) {
        const entry = document.createElement("li");
        const patch = document.createElement("span");
        patch.style.background = colours[i % colours.length];
        const places = flat.filter((other) => other === label).length;
        const share = (100 * places) / flat.length;
        const said = share > 0 && share < 1 ? "below 1" : Math.round(share);
        entry.append(patch, meta.outputs[label] + " " + said + " %");
        return entry;
      })
    );
    at("heat-p").setAttribute("aria-label", "Heat map: " + probability(one) +
      ", by the occluder’s place, " +
      x.number(Math.min(...now.p.flat())) + " to " + x.number(Math.max(...now.p.flat())));
    at("heat-activity").setAttribute("aria-label", "Heat map: activity of map " + one.map +
      " by the occluder’s place, " + x.number(Math.min(...now.activity.flat())) + " to " +
      x.number(Math.max(...now.activity.flat())));
    at("heat-label").setAttribute("aria-label", "Map of the most likely class: " +
      seen.map((label) => meta.outputs[label]).join(", "));
  }

  // ------------------------------------------------------------------------------ start
  function list() {
    const items = meta.items.map(function (one, i) {
      const choice = x.choice(i, "Image " + (i + 1) + ": " + one.true);
      const picture = x.canvas();
      x.draw(picture, ...tile(one.place)).catch(x.tell);
      const name = document.createElement("span");
      name.textContent = one.true;
      choice.append(picture, name);
      return choice;
    });
    at("images").replaceChildren(...items);
  }

  function start(found) {
    meta = found;
    images = x.choices(at("images"), chooseImage);
    list();
    for (const square of document.querySelectorAll(".occluder.filled")) {
      if (meta.fill_rgb) square.style.background = "rgb(" + meta.fill_rgb.join(",") + ")";
      else square.classList.add("hatched");
    }
    for (const place of document.querySelectorAll(".follows")) {
      place.addEventListener("pointermove", follow);
      place.addEventListener("pointerdown", follow);
    }
    at("stage").addEventListener("keydown", keys);
    at("worst").addEventListener("click", () => worst("p"));
    at("quiet").addEventListener("click", () => worst("activity"));
    plots.onScheme(() => window.Plotly && heats());
    window.addEventListener("resize", () => window.Plotly && heats());
    window.addEventListener("hashchange", () => chooseImage(Number(location.hash.slice(1)) || 0));
    at("explorer").hidden = false;
    chooseImage(Number(location.hash.slice(1)) || 0);
  }
})();
