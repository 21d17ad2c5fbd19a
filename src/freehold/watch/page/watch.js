// Asks /data.json every five seconds and shows it. Data becomes text nodes only, never markup.
"use strict";
(() => {
  const root = document.documentElement;
  const at = (id) => document.getElementById(id);
  const colour = (name) => () => getComputedStyle(root).getPropertyValue(name).trim();
  const count = (n) => n.toLocaleString("en-US");
  const percent = (x, digits = 1) => (100 * x).toFixed(digits) + " %";
  const clock = (seconds) => new Date(1000 * seconds).toLocaleString("en-GB",
    { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

  const WHY = {
    home: "the score reached the certified threshold",
    escalated: "the score stayed below the certified threshold",
    unmatched: "no task of the log has this form, or the task stays upstream",
    refused: "the request asks for something that the student doesn't honour",
    closed: "the rung is closed",
  };

  function make(tag, text, kind) {
    const node = document.createElement(tag);
    if (text != null) node.append(document.createTextNode(text));
    if (kind) node.className = kind;
    return node;
  }

  function put(id, text) {
    if (at(id).textContent !== text) at(id).textContent = text;
  }

  function dollars(x) {
    const small = x !== 0 && Math.abs(x) < 1;
    const digits = { minimumFractionDigits: 2, maximumFractionDigits: small ? 4 : 2 };
    return (x < 0 ? "-$" : "$") + Math.abs(x).toLocaleString("en-US", digits);
  }

  function interval(m) {
    return m.n ? `${(100 * m.low).toFixed(1)} to ${(100 * m.high).toFixed(1)} %, n = ${count(m.n)}` : "";
  }

  function measure(m) {
    return m.n ? `${percent(m.value)} (${(100 * m.low).toFixed(1)} to ${(100 * m.high).toFixed(1)}, n = ${count(m.n)})` : "none yet";
  }

  // A row of a definition list: what it is about, the value, and notes under it.
  function fact(term, value, notes, strong) {
    const row = make("div"), dt = make("dt"), dd = make("dd");
    dt.append(...[term].flat());
    dd.append(strong ? make("b", value) : value);
    for (const note of [notes].flat()) if (note) dd.append(make("span", note, "small"));
    row.append(dt, dd);
    return row;
  }

  // the parts

  function headline(d) {
    put("project", " · " + d.project);
    document.title = d.calls ? `${percent(d.home.value)} kept home · ${d.project}` : `${d.project} · freehold watch`;
    put("sentence", d.calls ? `${percent(d.home.value)} of calls stayed home.` : "No calls yet.");
    put("lede", d.calls ? promise(d.tasks) : "Calls appear here as soon as freehold serve answers them.");
    const [, between, home] = at("share").children;
    between.setAttribute("width", d.calls ? 1000 * d.home.high : 0);
    home.setAttribute("width", d.calls ? 1000 * d.home.low : 0);
    at("share").setAttribute("aria-label", "Share of calls kept home: " + measure(d.home));
  }

  function promise(tasks) {
    const named = (state, one, many) => {
      const names = tasks.filter((t) => t.state === state).map((t) => t.name);
      if (!names.length) return "";
      const who = names.length > 3 ? `${names.length} tasks` : names.join(", ").replace(/, ([^,]*)$/, " and $1");
      return who + (names.length > 1 ? many : one);
    };
    const said = [
      named("closed", " is closed, so its calls go up", " are closed, so their calls go up"),
      named("unmonitored", " is answered at home and not monitored", " are answered at home and not monitored"),
      named("open", " is open and watched", " are open and watched"),
    ].filter(Boolean);
    return said.length ? said.join("; ") + "." : "No task is answered at home.";
  }

  function facts(d) {
    const month = d.saved.per_month == null ? "per month: after the first hour"
      : `${dollars(d.saved.per_month)} a month: ${d.saved.method}`;
    const rows = [
      fact("kept home", d.calls ? percent(d.home.value) : "none yet", interval(d.home), true),
      fact("saved so far", dollars(d.saved.value), month, true),
      fact("agreement on pairs", d.agreement.n ? percent(d.agreement.value, 2) : "none yet",
        (d.agreement.n ? interval(d.agreement) + "; home answers also asked upstream" : "no home answer was also asked upstream")
        + (d.lost ? `; ${count(d.lost)} lost` : ""), true),
    ];
    at("facts").replaceChildren(...rows);
    at("why").replaceChildren(...d.why.map(([why, n]) =>
      fact(why, `${count(n)} calls, ${percent(n / d.calls)}`, WHY[why])));
  }

  function tasks(d) {
    at("tasks").replaceChildren(...d.tasks.map((t) => {
      const kind = ["open", "closed"].includes(t.state) ? " " + t.state : "";
      const since = t.since ? `since ${clock(Date.parse(t.since) / 1000)}` : "";
      const pairs = t.pairs.n ? `agrees on ${percent(t.pairs.value, 2)} of pairs` : "no pairs yet";
      return fact([make("span", t.name, "name"), make("span", t.state, "state" + kind)], pairs, [
        [t.kind, t.student].filter(Boolean).join(": "),
        [t.bar == null ? "" : `bar ${+(100 * t.bar).toFixed(6)} %`, interval(t.pairs)].filter(Boolean).join("; "),
        t.calls ? `kept home ${measure(t.home)}` + (t.certified ? `; proved on the log ${measure(t.certified)}` : "") : "no calls yet",
        [since, t.why].filter(Boolean).join(": "),
      ], true);
    }));
  }

  function ups(d) {
    put("prompts", d.prompts === "shown" ? "Users' texts are shown in full (--show-prompts)."
      : "Users' texts are cut to two words at most before they leave the server; --show-prompts shows them.");
    const rows = d.ups.map((u) => fact(
      [make("span", u.at ? clock(u.at) : "no time"), document.createElement("br"), u.task || "no task"],
      u.prompt || "no text of a user", [
        `${u.why}: ${u.reason || WHY[u.why] || "no reason given"}`,
        u.answer ? `the student would say ${u.answer}` : "",
      ]));
    at("ups").replaceChildren(...(rows.length ? rows : [make("div", "none yet", "soft")]));
    const c = d.counts, said = [`${count(d.calls)} calls`];
    if (c.replayed) said.push(`${count(c.replayed)} answered from the log (replay)`);
    if (c.failed) said.push(`${count(c.failed)} failed`);
    if (c.unpriced) said.push(`${count(c.unpriced)} without a price, counted as $0`);
    if (c.unreadable) said.push(`${count(c.unreadable)} ledger rows unreadable`);
    put("foot", said.join(" · ") + ". Read from the project's files; plots by uPlot (MIT).");
  }

  // the plot: bars, what went up standing on what stayed home

  let chart = null;

  function options(width) {
    const bars = (size) => uPlot.paths.bars({ size: [size, 36], align: 1 });
    const axis = (more) => Object.assign({ stroke: colour("--soft"), font: FONT, ticks: { show: false },
      grid: { show: false } }, more);
    const bar = (name) => ({ stroke: colour(name), fill: colour(name), width: 0, paths: bars(0.82), points: { show: false } });
    return {
      width, height: width < 480 ? 220 : 280, padding: [10, 22, 0, 0], legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      // from the hours themselves: uPlot pads a single one to years
      scales: { x: { range: () => [shown.hours[0], Math.max(shown.hours.at(-1), shown.hours[0] + 6 * 3600) + 3600] },
                y: { range: (_, low, high) => [0, Math.max(high * 1.05, 4)] } },
      axes: [axis({ size: 46, space: width < 480 ? 60 : 50,
                    values: [[86400, "{D} {MMM}", null, null, null, null, null, null, 1],
                             [3600, "{HH}:00", "\n{D} {MMM}", null, null, null, null, null, 1]] }),
             axis({ size: 52, grid: { stroke: colour("--line"), width: 1 },
                    values: (_, ticks) => ticks.map((n) => n % 1 ? "" : count(n)) })],
      series: [{}, bar("--rest"), bar("--accent")],
      hooks: { setCursor: [(u) => readout(u.cursor.idx)] },
    };
  }

  let shown = null;

  function readout(i) {
    const t = shown;
    put("readout", i == null || !t.hours.length ? (t.hours.length ? `calls an hour, the last ${t.hours.length === 1 ? "hour" : `${count(t.hours.length)} hours`}` : "no calls yet")
      : `${clock(t.hours[i]).slice(0, -3)}: ${count(t.home[i])} at home, ${count(t.up[i])} went up`);
  }

  function traffic(d) {
    shown = d.traffic;
    const data = [shown.hours, shown.home.map((n, i) => n + shown.up[i]), shown.home];
    if (!chart && shown.hours.length) chart = new uPlot(options(at("plot").clientWidth), data, at("plot"));
    else if (chart) chart.setData(data);
    readout(chart ? chart.cursor.idx : null);
  }

  // asking

  let last = "";

  async function ask() {
    let again = 5000;
    try {
      const answer = await fetch("data.json", { cache: "no-store" });
      const d = await answer.json();
      if (!answer.ok) throw new Error(d.error || answer.statusText);
      for (const part of [headline, facts, tasks, traffic, ups]) part(d);
      last = clock(Date.parse(d.at) / 1000);
      put("status", d.behind ? `reading the ledger, ${count(Math.ceil(d.behind / 1e6))} MB to go` : "as of " + last);
      at("status").className = "";
      if (d.behind) again = 50;
    } catch (error) {
      const why = error instanceof TypeError ? "freehold watch does not answer" : error.message;
      put("status", why + (last ? "; figures as of " + last : ""));
      at("status").className = "stale";
    }
    setTimeout(ask, document.hidden ? 30000 : again);
  }

  addEventListener("resize", () => { if (chart) chart.setSize({ width: at("plot").clientWidth, height: chart.height }); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart && chart.redraw());
  ask();
})();
