// The feature explorer: window.zfnetFeatures(key, value) takes what the data scripts hand over.
"use strict";
(function () {
  const x = window.zfnetExplore;
  const plots = window.zfnetPlots;
  const folder = "explore/features/";
  const { data, need } = x.page("zfnetFeatures", folder, start);
  const at = (id) => document.getElementById(id);
  const state = { layer: "", map: 0, pick: 0, epoch: -1, sort: "index" };
  const orders = {};
  let meta, maps, pairs, layers;

  const pageOf = (map) => Math.floor(map / meta.maps_a_sheet);
  const page = (layer, number) => need(layer + "/" + number, "layer" + layer + "_" + number);
  const info = () => meta.layers[state.layer];

  // Every map of the layer in the chosen order: by number, or first those with most of it.
  function order() {
    const key = state.layer + "/" + state.sort;
    if (!orders[key]) {
      const values = info()[state.sort];
      orders[key] = Array.from({ length: info().maps }, (_, map) => map);
      if (values) orders[key].sort((a, b) => (values[b] ?? -1) - (values[a] ?? -1) || a - b);
    }
    return orders[key];
  }

  // ------------------------------------------------------------------------------ choosing
  function chooseLayer(index) {
    const layer = Object.keys(meta.layers)[index];
    choose({ layer: layer, map: Math.min(state.map, meta.layers[layer].maps - 1), pick: 0 });
  }

  function chooseMap(map) {
    choose({ map: Math.max(0, Math.min(info().maps - 1, map)), pick: 0 });
  }

  function step(by) {
    const map = order()[order().indexOf(state.map) + by];
    if (map !== undefined) chooseMap(map);
  }

  function chooseOrder(sort) {
    state.sort = sort;
    if (sort === "index") choose({});
    else chooseMap(order()[0]); // what one sorts for stands first
  }

  function choose(what) {
    Object.assign(state, what);
    layers.mark(Object.keys(meta.layers).indexOf(state.layer));
    remember();
    return whenRead(function (found) {
      const focused = at("maps").contains(document.activeElement);
      const number = pageOf(order().indexOf(state.map));
      const key = [state.layer, state.sort, number].join("/");
      if (at("maps").dataset.page !== key) {
        at("maps").dataset.page = key;
        overview(number);
      }
      showMap(found);
      if (focused) at("maps").querySelector('[aria-checked="true"]').focus({ preventScroll: true });
    });
  }

  function remember() {
    history.replaceState(null, "", "#" + [state.layer, state.map, state.pick].join("."));
  }

  // Calls `show` with the page of the chosen map, unless another was chosen while it was read.
  function whenRead(show) {
    return page(state.layer, pageOf(state.map))
      .then(function (found) {
        if (found !== data[state.layer + "/" + pageOf(state.map)]) return;
        x.calm();
        show(found);
      })
      .catch(x.tell);
  }

  function fromHash() {
    const [layer, map, pick] = location.hash.slice(1).split(".");
    const known = layer in meta.layers;
    const at = known ? layer : Object.keys(meta.layers)[Object.keys(meta.layers).length - 1];
    const top = meta.layers[at].maps - 1;
    const chosen = known && Number(map) >= 0 ? Math.min(top, Math.floor(Number(map))) : first(at);
    const rank = Math.min(meta.k - 1, Math.max(0, Math.floor(Number(pick)) || 0));
    return { layer: at, map: chosen, pick: known ? rank : 0 };
  }

  // A map that was followed shows most of what the page can do.
  function first(layer) {
    return meta.layers[layer].followed[0] || 0;
  }

  // A page of the layer's maps in the chosen order, whose pictures may lie on any of its sheets.
  function overview(number) {
    const followed = new Set(info().followed);
    const dead = new Set(info().dead);
    const layer = state.layer;
    const start = number * meta.maps_a_sheet;
    const shown = order().slice(start, start + meta.maps_a_sheet);
    const items = shown.map(function (map) {
      const more = dead.has(map) ? ", dead: never active" : followed.has(map) ? ", followed" : "";
      const item = x.choice(map, "Map " + map + more);
      const picture = x.canvas();
      page(layer, pageOf(map))
        .then((found) => x.draw(picture, found.sheet, (map - found.first) * 2 * meta.k))
        .catch(x.tell);
      const name = document.createElement("span");
      name.textContent = map;
      item.append(picture, name);
      item.classList.toggle("followed", followed.has(map));
      item.classList.toggle("dead", dead.has(map));
      return item;
    });
    at("maps").replaceChildren(...items);
    at("maps").setAttribute("aria-label", "Maps, " + span(number));
    at("dead-key").hidden = !dead.size;
    const pages = Math.ceil(info().maps / meta.maps_a_sheet);
    at("pages").hidden = pages < 2;
    at("page").replaceChildren(
      ...Array.from({ length: pages }, (_, i) => new Option(span(i), i, false, i === number))
    );
    at("map").max = info().maps - 1;
    at("of").textContent = "0 to " + (info().maps - 1);
  }

  // The maps, or where they are sorted the places, of a page.
  function span(number) {
    const start = number * meta.maps_a_sheet;
    const end = Math.min(info().maps, start + meta.maps_a_sheet);
    return state.sort === "index" ? start + " to " + (end - 1) : "places " + (start + 1) + " to " + end;
  }

  // ------------------------------------------------------------------------------ one map
  function showMap(found) {
    const i = state.map - found.first;
    const one = found.maps[i];
    at("map").value = state.map;
    at("back").disabled = state.map === order()[0];
    at("on").disabled = state.map === order()[order().length - 1];
    maps.mark(state.map);
    const chosen = at("maps").querySelector('[aria-checked="true"]');
    if (chosen) x.reveal(chosen, at("maps"));
    at("title").textContent = "Layer " + state.layer + ", map " + state.map;
    facts(one);
    filter(found, i);
    const items = one.values.map((value, rank) => pair(found, i, rank, one));
    const focused = at("pairs").contains(document.activeElement);
    at("pairs").replaceChildren(...items);
    showPick(found, one);
    if (focused) at("pairs").querySelector('[aria-checked="true"]').focus({ preventScroll: true });
    showEvolution();
  }

  function facts(one) {
    const list = at("facts");
    list.replaceChildren();
    const [label, count] = one.common || [null, 0];
    const purity = label === null ? "never active on these images" :
      count + " of " + one.exciting + " images are of class " + meta.classes[label] +
      " (purity " + x.number(count / one.exciting) + ")";
    x.fact(list, "Most common class", purity);
    x.fact(list, "Activation", x.number(one.values[0]) + " the strongest, " +
      x.number(one.values[one.values.length - 1]) + " the weakest shown");
    const share = info().field / meta.px;
    x.fact(list, "Receptive field", info().field + " px, " +
      (share >= 1 ? "more than the whole input of " : Math.round(100 * share) + " % of the input’s ") +
      meta.px + " px");
  }

  function filter(found, i) {
    at("filter").hidden = !found.filters;
    if (!found.filters) return;
    const picture = at("filter-picture");
    picture.setAttribute("aria-label", "Filter of map " + state.map);
    x.draw(picture, found.filters, i).catch(x.tell);
    at("filter-scale").textContent = "Grey is 0, full contrast ±" +
      x.number(found.filter_scales[i]) + ".";
  }

  function pair(found, i, rank, one) {
    const name = meta.classes[one.labels[rank]];
    const active = one.values[rank] > 0;
    const label = "Number " + (rank + 1) + ": " +
      (active ? name + ", activation " + x.number(one.values[rank]) : "not active");
    const item = x.choice(rank, label);
    const start = (i * meta.k + rank) * 2;
    for (const kind of [0, 1]) {
      const picture = x.canvas();
      x.draw(picture, found.sheet, start + kind).catch(x.tell);
      item.append(picture);
    }
    const text = document.createElement("span");
    text.textContent = active ? name : "not active";
    item.append(text);
    return item;
  }

  function choosePick(rank) {
    state.pick = rank;
    remember();
    whenRead((found) => showPick(found, found.maps[state.map - found.first]));
  }

  function showPick(found, one) {
    const rank = Math.min(state.pick, one.values.length - 1);
    pairs.mark(rank);
    const place = one.images[rank];
    const sheet = meta.images.sheets[Math.floor(place / meta.images.a_sheet)];
    const name = meta.classes[one.labels[rank]];
    at("whole").setAttribute("aria-label", "The whole image " + one.ids[rank] + ", class " + name);
    x.draw(at("whole"), sheet, place % meta.images.a_sheet).catch(x.tell);
    x.frame(at("field"), one.boxes[rank], meta.px);
    at("field").hidden = !(one.values[rank] > 0);
    const list = at("pick");
    list.replaceChildren();
    const [y0, x0, y1, x1] = one.boxes[rank];
    x.fact(list, "Number", rank + 1 + " of " + one.values.length);
    x.fact(list, "Class", name);
    x.fact(list, "Activation", one.values[rank] > 0 ? x.number(one.values[rank]) : "0: not active");
    x.fact(list, "Receptive field", "rows " + y0 + " to " + y1 + ", columns " + x0 + " to " + x1 + " px");
    x.fact(list, "Image", one.ids[rank]);
  }

  // ------------------------------------------------------------------------------ evolution
  function showEvolution() {
    const followed = info().followed;
    const member = followed.indexOf(state.map);
    at("followed").hidden = member < 0;
    at("unfollowed").hidden = member >= 0;
    if (member < 0) return elsewhere(followed);
    const number = Math.floor(member / meta.followed_a_sheet);
    const wanted = state.layer + "." + state.map;
    need(state.layer + "/epochs/" + number, "layer" + state.layer + "_epochs_" + number)
      .then(function (found) {
        if (wanted !== state.layer + "." + state.map) return;
        const slider = at("epoch");
        slider.max = meta.epochs.length - 1;
        if (state.epoch < 0) state.epoch = meta.epochs.length - 1;
        slider.value = state.epoch;
        strip(found);
        showEpoch();
      })
      .catch(x.tell);
  }

  function elsewhere(followed) {
    const text = at("unfollowed-text");
    const list = at("others");
    list.replaceChildren();
    if (!followed.length) {
      text.textContent = meta.epochs.length
        ? "The evolution study kept no pictures of this layer."
        : "The evolution study has not been run, or the net has no snapshots.";
      return;
    }
    text.textContent = "The evolution study follows a seeded sample of " + followed.length + " of " +
      info().maps + " maps of this layer; map " + state.map + " is not among them. Followed:";
    for (const map of followed) {
      const item = document.createElement("button");
      item.type = "button";
      item.textContent = map;
      item.setAttribute("aria-label", "Go to map " + map);
      item.addEventListener("click", () => chooseMap(map));
      list.append(item);
    }
  }

  function current() {
    const member = info().followed.indexOf(state.map);
    const found = data[state.layer + "/epochs/" + Math.floor(member / meta.followed_a_sheet)];
    if (member < 0 || !found) return null;
    return { found, row: found.order.indexOf(state.map), one: found.maps[state.map] };
  }

  function strip(found) {
    const row = found.order.indexOf(state.map);
    const items = meta.epochs.map(function (epoch, e) {
      const item = document.createElement("span");
      const picture = x.canvas();
      x.draw(picture, found.sheet, (row * meta.epochs.length + e) * 2).catch(x.tell);
      const name = document.createElement("span");
      name.textContent = epoch;
      item.append(picture, name);
      item.addEventListener("click", () => chooseEpoch(e));
      return item;
    });
    at("strip").replaceChildren(...items);
    x.plotly().then(chart).catch(x.tell);
  }

  function chooseEpoch(e) {
    state.epoch = e;
    at("epoch").value = e;
    showEpoch();
    const place = at("similarity");
    if (window.Plotly && place.classList.contains("js-plotly-plot")) {
      window.Plotly.relayout(place, { shapes: [upright()] });
    }
  }

  function showEpoch() {
    const now = current();
    if (!now) return;
    const { found, row, one } = now;
    const e = state.epoch;
    const epoch = meta.epochs[e];
    const start = (row * meta.epochs.length + e) * 2;
    const active = one.values[e] > 0;
    const name = meta.classes[one.labels[e]];
    x.draw(at("epoch-projection"), found.sheet, start).catch(x.tell);
    x.draw(at("epoch-patch"), found.sheet, start + 1).catch(x.tell);
    at("epoch-projection").setAttribute("aria-label", "Projection after epoch " + epoch);
    at("epoch-patch").setAttribute("aria-label", "Image patch after epoch " + epoch + ", class " + name);
    at("epoch").setAttribute("aria-valuetext", "epoch " + epoch);
    at("epoch-now").textContent = "Epoch " + epoch + " of " + meta.epochs[meta.epochs.length - 1];
    Array.from(at("strip").children).forEach((item, i) => item.classList.toggle("on", i === e));
    if (at("strip").children[e]) x.reveal(at("strip").children[e], at("strip"));
    const list = at("epoch-facts");
    list.replaceChildren();
    x.fact(list, "Activation", active ? x.number(one.values[e]) : "0: active in no image");
    x.fact(list, "Class", active ? name : "none");
    x.fact(list, "Similar to the last epoch", x.number(one.own[e]) + " as shown, " +
      x.number(one.fixed[e]) + " on the last epoch’s image");
    const [from, before, begun] = one.settled || [null, false, null];
    x.fact(list, "Settled", from === null ? (begun === null ? "dead at the last epoch" : "has not left its start") :
      before ? "from epoch " + from : "not before the last epoch");
    x.fact(list, "Image", active ? one.ids[e] : "none");
  }

  function upright() {
    const where = meta.epochs[state.epoch];
    return {
      type: "line", x0: where, x1: where, yref: "paper", y0: 0, y1: 1,
      line: { color: plots.colour("--accent"), width: 2 },
    };
  }

  // A map settles so much of the way from its start, the first weights, to its last projection.
  function settles(one) {
    const start = Math.max(0, (one.settled || [])[2] || 0);
    return start + (1 - start) * meta.threshold;
  }

  function chart() {
    const now = current();
    if (!now) return;
    const line = (name, y, colour, dash) => ({
      type: "scatter", mode: "lines+markers", name, x: meta.epochs, y,
      line: { color: colour, width: 2, dash }, marker: { size: 5, color: colour },
      hovertemplate: "%{y:.2f}<extra>" + name + "</extra>",
    });
    const ends = [meta.epochs[0], meta.epochs[meta.epochs.length - 1]];
    const traces = [
      line("last epoch’s image", now.one.fixed, "#3a7fc1", "solid"),
      line("each epoch’s own image", now.one.own, "#d9772b", "dash"),
      {
        type: "scatter", mode: "lines", name: "counts as settled", x: ends,
        y: [settles(now.one), settles(now.one)], hoverinfo: "skip",
        line: { color: plots.colour("--soft"), width: 1.5, dash: "dot" },
      },
    ];
    const layout = x.layout({
      hovermode: "x unified",
      margin: { l: 44, r: 10, t: 28, b: 40 },
      legend: plots.legend,
      xaxis: { title: { text: "epoch" } },
      yaxis: { title: { text: "cosine to the last epoch" }, range: [-0.3, 1.05] },
      shapes: [upright()],
    });
    window.Plotly.react(at("similarity"), traces, layout, plots.config);
  }

  // ------------------------------------------------------------------------------ start
  function start(found) {
    meta = found;
    layers = x.choices(at("layers"), chooseLayer);
    maps = x.choices(at("maps"), chooseMap, step);
    pairs = x.choices(at("pairs"), choosePick);
    at("back").addEventListener("click", () => step(-1));
    at("on").addEventListener("click", () => step(1));
    at("map").addEventListener("change", () => chooseMap(Math.round(Number(at("map").value) || 0)));
    at("page").addEventListener("change", () =>
      chooseMap(order()[Number(at("page").value) * meta.maps_a_sheet])
    );
    at("sort").addEventListener("change", () => chooseOrder(at("sort").value));
    at("epoch").addEventListener("input", () => chooseEpoch(Number(at("epoch").value)));
    window.addEventListener("hashchange", () => choose(fromHash()));
    plots.onScheme(() => window.Plotly && chart());
    at("explorer").hidden = false;
    choose(fromHash());
  }
})();
