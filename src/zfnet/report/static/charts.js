// Draws window.ZFNET_CHARTS (data/training.js) with plotly.js.
"use strict";
(function () {
  const plots = window.zfnetPlots;
  const charts = window.ZFNET_CHARTS || [];
  const phone = window.matchMedia("(max-width: 40rem)");

  function themed(chart) {
    const layout = plots.layout(
      Object.assign({}, chart.layout, {
        margin: { l: phone.matches ? 44 : 60, r: 12, t: 28, b: 44 },
        hovermode: "x unified",
        legend: plots.legend,
      })
    );
    const traces = chart.data.map(function (trace) {
      const line = Object.assign({}, trace.line);
      if (line.color === "soft") line.color = plots.colour("--soft");
      return Object.assign({}, trace, { line: line });
    });
    return [traces, layout];
  }

  function draw() {
    for (const chart of charts) {
      const place = document.getElementById("chart-" + chart.id);
      if (!place) continue;
      const [traces, layout] = themed(chart);
      window.Plotly.react(place, traces, layout, plots.config);
    }
  }

  draw();
  plots.onScheme(draw);
  phone.addEventListener("change", draw);
})();
