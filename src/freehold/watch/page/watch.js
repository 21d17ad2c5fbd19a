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
    shadow: "a new student is asked, and not used yet",
    canary: "the student answers a share of users, and this one is not in it",
    capped: "only a share of this key's calls may be answered at home",
    declared: "the task is declared never answered at home",
    below_bar: "answered at home below the bar, since the task is declared never to leave the house",
    never_leaves: "refused, since the task is declared never to leave the house",
    cached: "answered from the cache",
    denied: "refused before anybody was asked: a key's rights, limits or budget",
    unfinished: "ended before it was decided who answers",
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
    return m.n ? `${(100 * m.low).toFixed(1)} to ${(100 * m.high).toFixed(1)} %, n = ${count(m.n)}` : "";
  }

  function measure(m) {
    return m.n ? `${percent(m.value)} (${(100 * m.low).toFixed(1)} to ${(100 * m.high).toFixed(1)}, n = ${count(m.n)})` : "none yet";
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
      const names = tasks.filter((t) => standing(t.rungs[0] || t) === state).map((t) => t.name);
      if (!names.length) return "";
      const who = names.length > 3 ? `${names.length} tasks` : names.join(", ").replace(/, ([^,]*)$/, " and $1");
      return who + (names.length > 1 ? many : one);
    };
    const said = [
      named("closed", " is closed, so its calls go up", " are closed, so their calls go up"),
      named("unmonitored", " is answered at home and not monitored", " are answered at home and not monitored"),
      named("frozen", " is frozen: another model answers in the place of the one it was proved against",
        " are frozen: another model answers in the place of the one they were proved against"),
      named("shadow", " is in shadow: asked, not used", " are in shadow: asked, not used"),
      named("canary", " answers a share of users", " answer a share of users"),
      named("open", " is open and watched", " are open and watched"),
    ].filter(Boolean);
    return said.length ? said.join("; ") + "." : "No task is answered at home.";
  }

  // In one word: an open rung that is not full yet is what its stage says.
  function standing(rung) {
    return rung.state === "open" && rung.stage && rung.stage.name !== "full" ? rung.stage.name : rung.state;
  }

  function stageOf(rung) {
    if (rung.state === "closed" || !rung.stage) return rung.state;
    const s = rung.stage, name = s.name === "canary" ? `canary ${+(100 * s.share).toPrecision(4)} %` : s.name;
    return rung.state === "open" ? (s.name === "full" ? "open, full" : name) : `${rung.state}, ${name}`;
  }

  function agrees(what, m) {
    return m.n ? `${what}: ${percent(m.value, 2)} (${interval(m)})` : "";
  }

  function facts(d) {
    const month = d.saved.per_month == null ? "per month: after the first hour"
      : `${dollars(d.saved.per_month)} a month: ${d.saved.method}`;
    const rows = [
      fact("kept home", d.calls ? percent(d.home.value) : "none yet", interval(d.home), true),
      fact("saved so far", dollars(d.saved.value), month, true),
      fact("agreement on home pairs", d.agreement.home.n ? percent(d.agreement.home.value, 2) : "none yet",
        (d.agreement.home.n ? interval(d.agreement.home) + "; home answers also asked upstream"
          : "no home answer was also asked upstream") + (d.lost ? `; ${count(d.lost)} lost` : ""), true),
      ...(d.agreement.free.n ? [fact("agreement on free pairs", percent(d.agreement.free.value, 2),
        interval(d.agreement.free) + "; calls that went up anyway, and the student was asked too", true)] : []),
    ];
    at("facts").replaceChildren(...rows);
    at("why").replaceChildren(...d.why.map(([why, n]) =>
      fact(why, `${calls(n)}, ${percent(n / d.calls)}`, WHY[why])));
    listed("hosts", d.hosts, d.calls);
    listed("keys", d.keys, d.calls);
  }

  function calls(n) {
    return `${count(n)} ${n === 1 ? "call" : "calls"}`;
  }

  // Calls by name; nothing at all where there is none.
  function listed(id, found, all) {
    at(id).hidden = at(id + "-title").hidden = !found.length;
    at(id).replaceChildren(...found.map(([name, n]) => fact(name, `${calls(n)}, ${percent(n / all)}`, "")));
  }

  function day(seconds) {
    const d = new Date(1000 * seconds), two = (n) => String(n).padStart(2, "0");
    return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`;
  }

  // How a rung came to where it is.
  function steps(rung) {
    const list = make("ol", null, "steps");
    for (const step of rung.timeline) {
      const row = make("li"), what = step.what + (step.earlier ? " (an earlier student)" : "");
      row.className = step.what;
      row.append(make("time", day(step.at)), make("span", step.why ? `${what}: ${step.why}` : what));
      list.append(row);
    }
    return list;
  }

  function rung(r, task, many) {
    const box = make("div", null, "rung");
    const since = r.since ? `since ${day(r.stage ? r.stage.at : Date.parse(r.since) / 1000)}` : "";
    const kind = { open: " open", shadow: " early", canary: " part", closed: " closed", frozen: " frozen" }[standing(r)] || "";
    const head = make("p", null, "head");
    head.append(make("span", stageOf(r), "state" + kind));
    if (since) head.append(make("span", " " + since, "soft"));
    const said = r.state === "open" ? r.stage.why : r.why;
    const proved = r.certified ? `proved on the log ${measure(r.certified)}` : "";
    box.append(head);
    for (const note of [
      said !== (r.timeline.at(-1) || {}).why ? said : "", // else the last step says it
      [r.kind, r.student].filter(Boolean).join(": ") + (r.after ? `; behind ${r.after}, on what that one leaves` : ""),
      [r.bar == null ? "" : `bar ${+(100 * r.bar).toFixed(6)} %`, proved].filter(Boolean).join("; "),
      many && task.calls ? `kept home by this rung ${measure(r.home)}` : "",
      agrees("home pairs", r.pairs.home),
      agrees("free pairs", r.pairs.free),
      r.certified && !r.pairs.home.n && !r.pairs.free.n && r.state !== "not served" ? "no pairs yet" : "",
      r.frozen ? `promise frozen since ${r.frozen.since}` : "",
      ...r.beside.map((b) => agrees(`agreement with ${b.model}`, b)),
    ]) if (note) box.append(make("span", note, "small"));
    if (r.timeline.length) box.append(steps(r));
    return box;
  }

  function tasks(d) {
    at("tasks").replaceChildren(...d.tasks.map((t) => {
      const row = make("div"), dt = make("dt"), dd = make("dd");
      dt.append(make("span", t.name, "name"));
      dd.append(make("b", t.calls ? `${percent(t.home.value)} kept home` : "no calls yet"));
      if (t.calls) dd.append(make("span", interval(t.home), "small"));
      if (!t.rungs.length) dd.append(make("span", `${t.state}: ${t.why}`, "small"));
      for (const one of t.rungs) dd.append(rung(one, t, t.rungs.length > 1));
      row.append(dt, dd);
      return row;
    }));
    put("simulated", d.simulated.join(" "));
    at("simulated").hidden = !d.simulated.length;
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
    if (c.cached) said.push(`${count(c.cached)} from the cache`);
    if (c.below_bar) said.push(`${count(c.below_bar)} answered below the bar`);
    if (c.nobody) said.push(`${count(c.nobody)} answered by nobody`);
    if (c.redacted) said.push(`${count(c.redacted)} went up with private data taken out`);
    if (c.failed) said.push(`${count(c.failed)} failed`);
    if (c.unpriced) said.push(`${count(c.unpriced)} without a price, counted as $0`);
    if (c.unreadable) said.push(`${count(c.unreadable)} ledger rows unreadable`);
    if (c.unreadable_pairs) said.push(`${count(c.unreadable_pairs)} rows of pairs unreadable`);
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
      series: [{}, bar("--line"), bar("--rest"), bar("--accent")],
      hooks: { setCursor: [(u) => readout(u.cursor.idx)] },
    };
  }

  let shown = null;

  function readout(i) {
    const t = shown;
    put("readout", i == null || !t.hours.length ? (t.hours.length ? `calls an hour, the last ${t.hours.length === 1 ? "hour" : `${count(t.hours.length)} hours`}` : "no calls yet")
      : `${clock(t.hours[i]).slice(0, -3)}: ${count(t.home[i])} at home, ${count(t.up[i])} went up` + (t.other[i] ? `, ${count(t.other[i])} neither` : ""));
  }

  function traffic(d) {
    shown = d.traffic;
    const data = [shown.hours, shown.home.map((n, i) => n + shown.up[i] + shown.other[i]),
      shown.home.map((n, i) => n + shown.up[i]), shown.home];
    if (!chart && shown.hours.length) chart = new uPlot(options(at("plot").clientWidth), data, at("plot"));
    else if (chart) chart.setData(data);
    at("neither").hidden = !shown.other.some(Boolean);
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
