// Draws the plan's plots: lines over time, each with its band, from the numbers in a <script type="application/json">.
"use strict";
(() => {
  const root = document.documentElement;
  const colour = (name) => () => getComputedStyle(root).getPropertyValue(name).trim();
  const font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
  const charts = [];
  const styles = {
    taken: { stroke: colour("--accent"), width: 3 },
    stay: { stroke: colour("--ink"), width: 1.5, dash: [6, 4] },
    other: { stroke: colour("--rest"), width: 2 },
    third: { stroke: colour("--rest"), width: 2, dash: [2, 4] },
    area: { stroke: colour("--accent"), width: 1.25, fill: colour("--tint") },
  };

  function short(value) {
    for (const [least, unit] of [[1e9, " B"], [1e6, " M"], [1e4, " k"]]) {
      if (Math.abs(value) >= least) return +(value / least * (unit === " k" ? 10 : 1)).toFixed(1) + unit;
    }
    return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 1 ? 3 : Math.abs(value) < 100 ? 2 : 0 });
  }

  const money = (value) => (value < 0 ? "-$" : "$") + short(Math.abs(value));
  const clock = (value) => {
    for (const [least, by, unit] of [[172800, 86400, " days"], [7200, 3600, " h"], [120, 60, " min"]]) {
      if (value >= least) return +(value / by).toFixed(1) + unit;
    }
    return +value.toFixed(1) + " s";
  };

  function columns(data) {
    const found = [data.x], bands = [], series = [{}];
    for (const line of data.lines) {
      const style = styles[line.style];
      if (line.low) {
        found.push(line.low, line.high);
        series.push({ stroke: style.stroke, width: 0, points: { show: false } }, { stroke: style.stroke, width: 0, points: { show: false } });
        bands.push({ series: [series.length - 1, series.length - 2], fill: colour(line.style === "taken" ? "--tint" : "--band") });
      }
      found.push(line.mid);
      series.push(Object.assign({ points: { show: false } }, style));
    }
    return { found, bands, series };
  }

  function draw(place) {
    const data = JSON.parse(document.getElementById(place.dataset.lines).textContent);
    const out = place.parentElement.querySelector(".readout");
    const value = data.kind === "money" ? money : (v) => short(v) + " tokens/s";
    const when = (at) => data.labels ? data.labels[at] : clock(data.x[at]);
    const say = (at) => {
      const parts = at == null ? [] : data.lines.filter((l) => l.mid[at] != null).map((l) => l.name + " " + value(l.mid[at])
        + (l.low && l.low[at] != null ? ` (${value(l.low[at])} to ${value(l.high[at])})` : ""));
      out.textContent = parts.length ? when(at) + ": " + parts.join("; ") : "";
    };
    const narrow = place.clientWidth < 480;
    const { found, bands, series } = columns(data);
    const axis = { stroke: colour("--soft"), font, ticks: { show: false } };
    const months = (_, ticks) => ticks.map((t) => Number.isInteger(t) ? (data.labels[t - 1] || "").replace(" ", narrow ? "\n" : " ") : "");
    const chart = new uPlot({
      width: place.clientWidth,
      height: narrow ? 240 : 300,
      padding: [12, data.labels ? 30 : 22, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false }, y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.06 : 1] } },
      axes: [
        Object.assign({}, axis, { size: data.labels && narrow ? 44 : 32, space: narrow ? 56 : 76, grid: { show: false },
          incrs: data.labels ? undefined : [1, 5, 10, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400],
          splits: data.labels ? () => data.x.filter((i) => (i - 1) % (narrow ? 5 : 2) === 0) : undefined,
          values: data.labels ? months : (_, ticks) => ticks.map(clock) }),
        Object.assign({}, axis, { size: 60, space: 40, grid: { stroke: colour("--line"), width: 1 },
          values: (_, ticks) => ticks.map(data.kind === "money" ? money : short) }),
      ],
      series,
      bands,
      hooks: { setCursor: [(u) => say(u.cursor.idx)] },
    }, found, place);
    charts.push([chart, place]);
  }

  function fit(width) {
    for (const [chart, place] of charts) chart.setSize({ width: width || place.clientWidth, height: chart.height });
  }

  document.querySelectorAll("[data-lines]").forEach(draw);
  let seen = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== seen) { seen = innerWidth; fit(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(([c]) => c.redraw()));
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("print");
    fit(640);
    folded = [...document.querySelectorAll("details.paper:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    root.classList.remove("print");
    fit();
    for (const one of folded) one.open = false;
  });
})();
