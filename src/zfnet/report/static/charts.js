// Draws window.ZFNET_CHARTS (data/training.js) with plotly.js; the buttons hide and show nets in all.
"use strict";
(function () {
  const plots = window.zfnetPlots;
  const charts = window.ZFNET_CHARTS || [];
  const buttons = Array.from(document.querySelectorAll("[data-net]"));
  const phone = window.matchMedia("(max-width: 40rem)");

  // A trace or shape with the page's own colour for what belongs to no net.
  function coloured(item) {
    const line = Object.assign({}, item.line);
    if (line.color === "soft") line.color = plots.colour("--soft");
    return Object.assign({}, item, { line: line });
  }

  function draw() {
    const off = buttons.filter((button) => button.getAttribute("aria-pressed") === "false");
    const hidden = new Set(off.map((button) => button.dataset.net));
    for (const chart of charts) {
      const layout = plots.layout(
        Object.assign({}, chart.layout, {
          margin: { l: phone.matches ? 44 : 60, r: 12, t: 8, b: 44 },
          hovermode: chart.data.length > 8 ? "closest" : "x unified",
          showlegend: false,
          shapes: (chart.layout.shapes || []).map(coloured),
        })
      );
      const traces = chart.data.map(function (trace) {
        return Object.assign(coloured(trace), { visible: !hidden.has(trace.legendgroup) });
      });
      window.Plotly.react("chart-" + chart.id, traces, layout, plots.config);
    }
  }

  for (const button of buttons) {
    button.addEventListener("click", function () {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      draw();
    });
  }
  draw();
  plots.onScheme(draw);
  phone.addEventListener("change", draw);
})();
