// Draws each plot of the report from the numbers in its <script type="application/json">.
// Colours come from the style sheet, so that a change of scheme, and paper, only need a redraw.
"use strict";
(() => {
  const root = document.documentElement;
  const colour = (name) => () => getComputedStyle(root).getPropertyValue(name).trim();
  const percent = (value, digits = 1) => value.toFixed(digits) + " %";
  const charts = [];

  function line(name, width, more) {
    return Object.assign({ stroke: colour(name), width, points: { show: false } }, more);
  }

  function axis(narrow, horizontal) {
    return {
      stroke: colour("--soft"),
      font: "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
      size: horizontal ? 30 : 52,
      label: horizontal ? "share of calls kept home" : undefined,
      labelSize: 20,
      labelFont: "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
      space: horizontal ? (narrow ? 56 : 64) : 36,
      grid: { show: !horizontal, stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      values: (_, ticks) => ticks.map((tick) => +tick.toFixed(2) + " %"),
    };
  }

  function options(data, width, say) {
    const narrow = width < 480;
    return {
      width,
      height: narrow ? 250 : 330,
      padding: [10, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false, range: [0, 100] }, y: { range: [data.floor, 100] } },
      axes: [axis(narrow, true), axis(narrow, false)],
      series: [
        {},
        line("--rest", 0, {}),
        line("--rest", 0, {}),
        line("--ink", 1.25, { dash: [5, 5] }),
        line("--rest", 2, {}),
        line("--accent", 3, {}),
        line("--accent", 0, { points: { show: true, size: 13, fill: colour("--accent"), stroke: colour("--paper"), width: 2 } }),
      ],
      bands: [{ series: [2, 1], fill: colour("--band") }],
      hooks: { setCursor: [(u) => say(u.cursor.idx)] },
    };
  }

  function draw(place) {
    const data = JSON.parse(document.getElementById(place.dataset.plot).textContent);
    const out = place.parentElement.querySelector(".readout");
    const resting = out.textContent;
    const say = (at) => {
      const kept = data.columns[0][at], agree = data.agreement[at];
      out.textContent = at == null || agree == null ? resting
        : `keeps ${percent(kept)}, agrees on ${percent(agree, 2)} of them ` +
          `(${percent(data.columns[1][at])} to ${percent(data.columns[2][at])}), score at least ${data.thresholds[at]}`;
    };
    const chart = new uPlot(options(data, place.clientWidth, say), data.columns, place);
    charts.push([chart, place]);
  }

  function fit(width) {
    for (const [chart, place] of charts) {
      chart.setSize({ width: width || place.clientWidth, height: chart.height });
    }
  }

  document.querySelectorAll("[data-plot]").forEach(draw);
  let seen = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== seen) { seen = innerWidth; fit(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(([c]) => c.redraw()));
  addEventListener("beforeprint", () => { root.classList.add("print"); fit(640); });
  addEventListener("afterprint", () => { root.classList.remove("print"); fit(); });
})();
