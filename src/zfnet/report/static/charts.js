// Draws window.ZFNET_CHARTS (data/training.js) with plotly.js in the page's own colours and fonts.
"use strict";
(function () {
  const charts = window.ZFNET_CHARTS || [];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const phone = window.matchMedia("(max-width: 40rem)");
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
    showSendToCloud: false,
    scrollZoom: false,
  };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function themed(chart) {
    const axis = {
      gridcolor: colour("--line"),
      linecolor: colour("--line-strong"),
      zerolinecolor: colour("--line-strong"),
      tickcolor: colour("--line-strong"),
      automargin: true,
    };
    const layout = Object.assign({}, chart.layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: colour("--sans"), size: 13, color: colour("--ink") },
      margin: { l: phone.matches ? 44 : 60, r: 12, t: 28, b: 44 },
      hovermode: "x unified",
      hoverlabel: {
        bgcolor: colour("--raised"),
        bordercolor: colour("--line-strong"),
        font: { color: colour("--ink"), family: colour("--sans"), size: 12 },
        namelength: -1,
      },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
      xaxis: Object.assign({}, axis, chart.layout.xaxis),
      yaxis: Object.assign({}, axis, chart.layout.yaxis),
    });
    const traces = chart.data.map(function (trace) {
      const line = Object.assign({}, trace.line);
      if (line.color === "soft") line.color = colour("--soft");
      return Object.assign({}, trace, { line: line });
    });
    return [traces, layout];
  }

  function draw() {
    for (const chart of charts) {
      const place = document.getElementById("chart-" + chart.id);
      if (!place) continue;
      const [traces, layout] = themed(chart);
      window.Plotly.react(place, traces, layout, config);
    }
  }

  draw();
  dark.addEventListener("change", draw);
  phone.addEventListener("change", draw);
})();
