// What every plot of the site shares: plotly.js in the page's own colours and fonts.
"use strict";
window.zfnetPlots = (function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
    showSendToCloud: false,
    scrollZoom: false,
  };
  const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // A layout: `more` over the common one, its axes over `axes` over the common axis.
  function layout(more, axes) {
    const line = colour("--line-strong");
    const axis = Object.assign(
      { gridcolor: colour("--line"), linecolor: line, zerolinecolor: line, tickcolor: line,
        automargin: true },
      axes
    );
    return Object.assign(
      {
        autosize: true,
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: colour("--sans"), size: 13, color: colour("--ink") },
        hoverlabel: {
          bgcolor: colour("--raised"),
          bordercolor: line,
          font: { color: colour("--ink"), family: colour("--sans"), size: 12 },
          namelength: -1,
        },
      },
      more,
      { xaxis: Object.assign({}, axis, more.xaxis), yaxis: Object.assign({}, axis, more.yaxis) }
    );
  }

  const onScheme = (redraw) => dark.addEventListener("change", redraw);

  return { colour, layout, config, legend, onScheme };
})();
