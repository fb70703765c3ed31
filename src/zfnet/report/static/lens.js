// What moves on the page of `zfnet lens`: a map's strongest images, the chosen projection, the
// square over the picture, the slider of grey levels. Without it the page still shows its pictures.
"use strict";
(function () {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("lens-data").textContent);

  // ------------------------------------------------------------------ a map's strongest images
  for (const layer of document.querySelectorAll(".layer")) {
    const place = layer.querySelector(".strongest");
    if (!place) continue;
    const columns = Number(place.style.getPropertyValue("--columns"));
    layer.addEventListener("click", function (event) {
      const tile = event.target.closest("button.tile");
      if (!tile) return;
      for (const each of layer.querySelectorAll("button.tile")) {
        each.setAttribute("aria-pressed", String(each === tile));
      }
      place.hidden = false;
      place.querySelector("p").textContent = "Map " + tile.dataset.map +
        ": its strongest images of the run, most active first; " + tile.dataset.note;
      const row = place.querySelector(".row");
      row.replaceChildren();
      for (let i = 0; i < columns; i += 1) {
        const one = document.createElement("span");
        one.className = "pixels";
        one.style.setProperty("--x", i);
        one.style.setProperty("--y", tile.dataset.index);
        row.append(one);
      }
    });
  }

  // ------------------------------------------------------------------------ projections
  for (const choice of document.querySelectorAll('input[name="unit"]')) {
    choice.addEventListener("change", function () {
      for (const each of document.querySelectorAll(".four[data-unit]")) {
        each.hidden = each.dataset.unit !== choice.value;
      }
    });
  }

  // -------------------------------------------------------------------------- occlusion
  const occlusion = data.occlusion;
  if (occlusion && !occlusion.why) {
    const stage = at("stage");
    const square = at("square");
    const share = (value) => (100 * value) / data.px + "%";
    const here = { row: 0, col: 0 };

    function move(row, col) {
      here.row = Math.max(0, Math.min(occlusion.rows.length - 1, row));
      here.col = Math.max(0, Math.min(occlusion.cols.length - 1, col));
      square.style.top = share(occlusion.rows[here.row]);
      square.style.left = share(occlusion.cols[here.col]);
      at("hidden-p").textContent = occlusion.p[here.row][here.col].toFixed(3);
      at("hidden-label").textContent = occlusion.names[occlusion.label[here.row][here.col]];
    }

    function nearest(starts, px) {
      const away = starts.map((start) => Math.abs(start + occlusion.size / 2 - px));
      return away.indexOf(Math.min(...away));
    }

    stage.addEventListener("pointermove", function (event) {
      const box = stage.getBoundingClientRect();
      move(
        nearest(occlusion.rows, ((event.clientY - box.top) / box.height) * data.px),
        nearest(occlusion.cols, ((event.clientX - box.left) / box.width) * data.px)
      );
    });
    stage.addEventListener("keydown", function (event) {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (!(event.key in steps)) return;
      event.preventDefault();
      move(here.row + steps[event.key][0], here.col + steps[event.key][1]);
    });
    square.style.width = square.style.height = share(occlusion.size);
    const flat = occlusion.p.flat();
    const worst = flat.indexOf(Math.min(...flat));
    move(Math.floor(worst / occlusion.cols.length), worst % occlusion.cols.length);
  }

  // ---------------------------------------------------------------------------- fooling
  const fooling = data.fooling;
  if (fooling && !fooling.why) {
    const clean = document.querySelector(".first img.exact");
    const slider = at("epsilon");
    const canvas = at("fooled");
    const words = (one) => one.label + ", p " + one.p.toFixed(3);

    function pixels(image) {
      const own = document.createElement("canvas");
      own.width = own.height = data.px;
      const drawing = own.getContext("2d", { willReadFrequently: true });
      drawing.drawImage(image, 0, 0);
      return drawing.getImageData(0, 0, data.px, data.px).data;
    }

    Promise.all([clean.decode(), at("signs").decode()]).then(function () {
      const from = pixels(clean);
      const signs = pixels(at("signs"));
      const drawing = canvas.getContext("2d");
      const out = drawing.createImageData(data.px, data.px);
      function show() {
        const epsilon = Number(slider.value);
        for (let i = 0; i < from.length; i += 1) {
          const way = i % 4 === 3 ? 0 : Math.round(signs[i] / 127.5) - 1;
          out.data[i] = from[i] + epsilon * way; // clamped to 0..255 by the array
        }
        drawing.putImageData(out, 0, 0);
        at("epsilon-said").textContent = epsilon;
        at("fooled-said").textContent = words(fooling.changed[epsilon]);
        at("noise-said").textContent = words(fooling.noise[epsilon]);
        canvas.dataset.drawn = epsilon;
      }
      slider.addEventListener("input", show);
      show();
    });
    const flip = fooling.changed.findIndex((one) => one.label !== fooling.changed[0].label);
    at("flip").textContent = flip < 0 ?
      "No step up to " + slider.max + " grey levels changes the answer." :
      "The answer changes at " + flip + (flip === 1 ? " grey level." : " grey levels.");
  }
})();
