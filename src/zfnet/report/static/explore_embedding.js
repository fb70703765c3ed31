// The embedding explorer: window.zfnetEmbedding(key, value) takes what the data script hands over.
"use strict";
(function () {
  const x = window.zfnetExplore;
  const plots = window.zfnetPlots;
  const colours = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
    "#f0e442", "#7f7f7f", "#8c564b", "#4b4e9e", "#a6c64c", "#b8a9c9",
  ];
  const MARGIN = 0.06; // of the map's side, free at its border
  const at = (id) => document.getElementById(id);
  const state = { space: 0, image: 0, pictures: false };
  let meta, spaces, side, waiting;
  const sheets = []; // loaded images of the sprite sheets

  x.page("zfnetEmbedding", "explore/embedding/", start);

  const points = () => meta.spaces[state.space].points;
  const item = (i) => meta.items[i];
  const name = (i) => meta.classes[item(i).class];
  // of more classes than there are colours only the shown image's class has one
  const many = () => meta.classes.length > colours.length;
  const place = (point) => point.map((v) => side * (MARGIN + (1 - 2 * MARGIN) * v));

  function colour(i) {
    if (!many()) return colours[item(i).class];
    return item(i).class === item(state.image).class ? colours[0] : "#9a9a9a";
  }

  function tile(index) {
    return [meta.images.sheets[Math.floor(index / meta.images.a_sheet)], index % meta.images.a_sheet];
  }

  function away(i, j) {
    const [one, two] = [points()[i], points()[j]];
    return Math.hypot(one[0] - two[0], one[1] - two[1]);
  }

  function nearest() {
    const others = meta.items.map((_, i) => i).filter((i) => i !== state.image);
    others.sort((i, j) => away(i, state.image) - away(j, state.image) || i - j);
    return others.slice(0, meta.neighbours);
  }

  // ------------------------------------------------------------------------------ the map
  function plot() {
    if (waiting) return;
    waiting = window.requestAnimationFrame(function () {
      waiting = 0;
      draw();
    });
  }

  function dot(pen, i, size) {
    const [left, top] = place(points()[i]);
    pen.beginPath();
    pen.arc(left, top, size, 0, 2 * Math.PI);
    pen.fillStyle = colour(i);
    pen.fill();
    pen.lineWidth = 1;
    pen.strokeStyle = plots.colour("--raised");
    pen.stroke();
  }

  // Round a point, square round a picture.
  function ring(pen, i, size, width, stroke) {
    const [left, top] = place(points()[i]);
    pen.beginPath();
    if (state.pictures) pen.rect(left - size, top - size, 2 * size, 2 * size);
    else pen.arc(left, top, size, 0, 2 * Math.PI);
    pen.lineWidth = width;
    pen.strokeStyle = stroke;
    pen.stroke();
  }

  function thumbnail(pen, i, px) {
    const [left, top] = place(points()[i]);
    const [sheet, index] = tile(item(i).place);
    const image = sheets[meta.images.sheets.indexOf(sheet)];
    if (!image) return;
    const from = [(index % sheet.columns) * sheet.w, Math.floor(index / sheet.columns) * sheet.h];
    pen.fillStyle = colour(i);
    pen.fillRect(left - px / 2 - 2, top - px / 2 - 2, px + 4, px + 4);
    pen.drawImage(image, ...from, sheet.w, sheet.h, left - px / 2, top - px / 2, px, px);
  }

  function draw() {
    const canvas = at("plot");
    side = canvas.clientWidth;
    if (!side) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.height = Math.round(side * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const size = Math.max(2.5, Math.min(6, side / 14 / Math.sqrt(meta.items.length / 10)));
    const px = Math.max(12, Math.min(40, (0.5 * side) / Math.sqrt(meta.items.length)));
    const ink = plots.colour("--ink");
    const own = place(points()[state.image]);
    const order = meta.items.map((_, i) => i).filter((i) => i !== state.image);
    pen.strokeStyle = plots.colour("--accent");
    pen.lineWidth = 1.5;
    for (const i of nearest()) {
      pen.beginPath();
      pen.moveTo(...own);
      pen.lineTo(...place(points()[i]));
      pen.stroke();
    }
    for (const i of order.concat(state.image)) {
      if (state.pictures) thumbnail(pen, i, px);
      else dot(pen, i, size);
      if (item(i).right === false) ring(pen, i, state.pictures ? px / 2 + 3 : size + 2.5, 1.5, ink);
    }
    const reach = state.pictures ? px / 2 + 5 : size + 6;
    ring(pen, state.image, reach, 5, plots.colour("--raised"));
    ring(pen, state.image, reach, 3, plots.colour("--accent"));
    canvas.dataset.drawn = "yes";
  }

  // ------------------------------------------------------------------------------ one image
  function choose(image) {
    state.image = Math.max(0, Math.min(meta.items.length - 1, image || 0));
    const one = item(state.image);
    const label = name(state.image);
    const near = nearest();
    const same = near.filter((i) => item(i).class === one.class).length;
    x.calm();
    at("title").textContent = "Image " + (state.image + 1) + " of " + meta.items.length + ": " + label;
    x.draw(at("picture"), ...tile(one.place)).catch(x.tell);
    at("picture").setAttribute("aria-label", "Image of class " + label);
    at("facts").replaceChildren();
    x.fact(at("facts"), "Class", label);
    x.fact(at("facts"), "The net answers", one.answer +
      (one.right === null ? ", without knowing the class" : one.right ? ", right" : ", wrong"));
    x.fact(at("facts"), "Neighbours of its class", same + " of " + near.length);
    x.fact(at("facts"), "File", one.id);
    at("near-name").textContent = near.length > 1 ? near.length + " nearest on this map" :
      "Nearest on this map";
    at("near").replaceChildren(
      ...near.map(function (i) {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-label", "Image " + (i + 1) + ": " + name(i));
        const picture = x.canvas();
        x.draw(picture, ...tile(item(i).place)).catch(x.tell);
        const text = document.createElement("span");
        text.textContent = name(i);
        text.classList.toggle("other", item(i).class !== one.class);
        button.append(picture, text);
        button.addEventListener("click", () => choose(i));
        return button;
      })
    );
    at("spoken").textContent = label + ", the net answers " + one.answer + "; " + same + " of " +
      near.length + " neighbours of its class";
    plot();
  }

  function follow(event) {
    const box = at("plot").getBoundingClientRect();
    const here = [event.clientX - box.left, event.clientY - box.top];
    let best = 0;
    let least = Infinity;
    points().forEach(function (point, i) {
      const [left, top] = place(point);
      const gap = Math.hypot(left - here[0], top - here[1]);
      if (gap < least) [best, least] = [i, gap];
    });
    if (best !== state.image) choose(best);
  }

  // The nearest image within 45 degrees of an arrow's direction.
  function beside([right, down]) {
    const here = points()[state.image];
    let best = -1;
    let least = Infinity;
    points().forEach(function (point, i) {
      const [dx, dy] = [point[0] - here[0], point[1] - here[1]];
      const along = dx * right + dy * down;
      const across = Math.abs(dx * down) + Math.abs(dy * right);
      if (i === state.image || along <= 0 || across > along) return;
      if (along + across < least) [best, least] = [i, along + across];
    });
    if (best >= 0) choose(best);
  }

  function keys(event) {
    const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    const last = meta.items.length - 1;
    const jumps = { Home: 0, End: last, PageUp: state.image - 1, PageDown: state.image + 1 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in arrows) beside(arrows[event.key]);
    else if (event.key in jumps) choose(jumps[event.key]);
    else return;
    event.preventDefault();
  }

  // ------------------------------------------------------------------------------ start
  function show(space) {
    state.space = space;
    spaces.mark(space);
    choose(state.image);
  }

  function thumbnails() {
    state.pictures = !state.pictures;
    at("pictures").setAttribute("aria-pressed", String(state.pictures));
    meta.images.sheets.forEach(function (sheet, i) {
      if (sheets[i]) return;
      const image = new Image();
      image.src = sheet.src;
      image.decode().then(
        function () {
          sheets[i] = image;
          plot();
        },
        () => x.tell(new Error(sheet.src + " could not be read"))
      );
    });
    plot();
  }

  function legend() {
    if (many()) return;
    at("legend").replaceChildren(
      ...meta.classes.map(function (text, i) {
        const entry = document.createElement("li");
        const patch = document.createElement("span");
        patch.style.background = colours[i];
        entry.append(patch, text);
        return entry;
      })
    );
  }

  function start(found) {
    meta = found;
    spaces = x.choices(at("spaces"), show);
    at("spaces").replaceChildren(
      ...meta.spaces.map(function (space, i) {
        const button = x.choice(i, space.name);
        button.textContent = space.name;
        return button;
      })
    );
    legend();
    at("stage").addEventListener("pointermove", follow);
    at("stage").addEventListener("pointerdown", follow);
    at("stage").addEventListener("keydown", keys);
    at("pictures").addEventListener("click", thumbnails);
    plots.onScheme(plot);
    window.addEventListener("resize", plot);
    window.addEventListener("hashchange", () => choose(Number(location.hash.slice(1))));
    at("explorer").hidden = false;
    state.image = Number(location.hash.slice(1)) || 0;
    show(0);
  }
})();
