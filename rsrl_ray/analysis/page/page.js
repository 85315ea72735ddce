"use strict";
/* What the page does by hand: the table of contents, and curves that answer the pointer. Without scripts, as in some
   mail programs, the static figures stay. Names of methods are data here, never markup or code. */
(() => {
  const narrow = matchMedia("(max-width: 999px)");
  const contents = document.querySelector("nav details");
  const fold = () => { contents.open = !narrow.matches; };
  fold();
  narrow.addEventListener("change", fold);
  contents.addEventListener("click", (event) => { if (event.target.closest("a") && narrow.matches) contents.open = false; });

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const anchors = [...links.keys()].map((id) => document.getElementById(id));
  let asked = 0;
  const here = () => {
    asked = 0;
    let current = anchors[0];
    for (const anchor of anchors) {
      const top = 120 + parseFloat(getComputedStyle(anchor).scrollMarginTop);
      if (anchor.getClientRects().length && anchor.getBoundingClientRect().top < top) current = anchor;
    }
    for (const [id, link] of links) {
      if (id !== current.id) link.removeAttribute("aria-current");
      else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "true");
        const side = link.closest("nav"); // scrollIntoView would move the place from which Tab goes on
        const [top, bottom] = [link.offsetTop, link.offsetTop + link.offsetHeight];
        if (top < side.scrollTop || bottom > side.scrollTop + side.clientHeight) side.scrollTop = top - side.clientHeight / 2;
      }
    }
  };
  addEventListener("scroll", () => { asked = asked || requestAnimationFrame(here); }, { passive: true });
  here();
})();

(async () => {
  const stored = document.getElementById("chart-data");
  if (!stored) return;
  const { methods, charts } = JSON.parse(stored.textContent);
  const DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]];
  const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down"];
  const FEW = 4; // methods whose bands can lie over each other and still be read
  const hidden = new Set();
  const views = [];

  const say = (value, chart) => {
    if (value === null) return "–";
    if (chart.format === "%") return `${(100 * value).toFixed(2)} %`;
    return chart.format === "f" ? value.toFixed(3) : value.toLocaleString("en", { maximumFractionDigits: 1 });
  };

  /* A line is one path, pale where fewer folds have the round: the row where it turns pale is in both its parts. */
  function rows(chart) {
    const found = [];
    const most = Math.max(...chart.lines.map((line) => line.mean.length));
    const every = Math.max(1, Math.round(most / 6));
    for (const line of chart.lines) {
      line.mean.forEach((mean, place) => {
        if (mean === null) return;
        const [sd, n] = [line.sd[place], line.n[place]];
        const part = n < line.n[0] ? 1 : 0;
        const row = { method: methods[line.method].name, round: place + 1, mean, n, part, joint: false,
          low: mean - (sd ?? 0), high: mean + (sd ?? 0), marked: (place + line.method) % every === 0 || most === 1,
          tooltip: { method: methods[line.method].name, round: place + 1, mean: say(mean, chart), sd: say(sd, chart), "folds (n)": n } };
        row.datum = { tooltip: row.tooltip };
        found.push(row);
        if (part === 0 && line.n[place + 1] < n) found.push({ ...row, part: 1, joint: true });
      });
    }
    return found;
  }

  /* A little more than the rounds, so that the first and the last point are whole. */
  const span = (most) => (most > 1 ? [1 - 0.02 * (most - 1), most + 0.02 * (most - 1)] : [0.5, 1.5]);

  function spec(chart, height) {
    const most = Math.max(...chart.lines.map((line) => line.mean.length));
    const look = (range) => ({ field: "method", type: "nominal", legend: null, scale: { domain: methods.map((one) => one.name), range } });
    const colour = look(methods.map((one) => `var(--c${one.colour})`));
    const x = { field: "round", type: "quantitative", title: "round", axis: { labelExpr: "datum.value === round(datum.value) ? format(datum.value, 'd') : ''", tickMinStep: 1, grid: false },
      scale: { domain: span(most), nice: false } };
    const y = { field: "mean", type: "quantitative", title: null, axis: { format: chart.format, tickCount: 5, ...(chart.format === ",f" && { tickMinStep: 1 }) },
      scale: { domain: chart.domain, nice: false, zero: false } };
    const faint = { test: "picked !== '' && datum.method !== picked", value: 0.1 };
    const mouse = "[pointerdown[event.pointerType === 'mouse'], window:pointerup] > window:pointermove!";
    return {
      width: "container", height, autosize: { type: "fit-x", contains: "padding" }, background: null, padding: 2,
      data: { values: rows(chart) },
      params: [{ name: "hidden", value: [] }, { name: "bands", value: 0.14 }, { name: "picked", value: "" }],
      transform: [{ filter: "indexof(hidden, datum.method) < 0" }],
      layer: [
        { mark: { type: "area", clip: true, tooltip: null }, transform: [{ filter: "!datum.joint" }],
          encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color: colour,
            opacity: { condition: [{ test: "picked !== '' && datum.method !== picked", value: 0 }, { test: { param: "hover", empty: false }, value: 0.22 }], value: { expr: "bands" } } } },
        { mark: { type: "line", clip: true, tooltip: null, strokeWidth: 2 },
          encoding: { x, y, color: colour, strokeDash: look(methods.map((one) => DASHES[one.dash])), detail: { field: "part" },
            opacity: { condition: [faint, { test: { and: [{ param: "hover" }, "datum.part === 0"] }, value: 1 }, { param: "hover", value: 0.45 }], value: 0.15 } } },
        { mark: { type: "point", clip: true, filled: true, size: 42, tooltip: true }, transform: [{ filter: "!datum.joint" }],
          params: [
            { name: "hover", select: { type: "point", fields: ["method"], on: "pointerover", nearest: true, clear: "pointerout" } },
            { name: "at", select: { type: "point", on: "pointerover", nearest: true, clear: "pointerout" } },
            { name: "zoom", bind: "scales", select: { type: "interval", translate: mouse, zoom: "wheel![event.ctrlKey || event.metaKey]" } }],
          encoding: { x, y, color: colour, shape: look(methods.map((one, place) => SHAPES[place % SHAPES.length])),
            opacity: { condition: [faint, { param: "at", empty: false, value: 1 }, { test: { and: [{ param: "hover" }, "datum.marked"] }, value: 1 }], value: 0 },
            // What the pointer meets is a cell around the point: it holds the point, and that its row, which a list of fields
            // does not know in Vega-Lite 6.4. (A row holds its tooltip too, for the point by itself.)
            tooltip: { value: { expr: "datum.datum.tooltip" } } } }],
      config: { view: { stroke: null }, axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", domainWidth: 1 }, customFormatTypes: false },
    };
  }

  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };

  function zoomed(view, chart, factor) {
    const most = Math.max(...chart.lines.map((line) => line.mean.length));
    for (const [signal, whole] of [["zoom_round", span(most)], ["zoom_mean", chart.domain]]) {
      const [low, high] = view.signal(signal) ?? whole;
      const [middle, half] = [(low + high) / 2, ((high - low) / 2) * factor];
      view.signal(signal, factor === 0 ? null : [middle - half, middle + half]);
    }
    view.runAsync();
  }

  function numbers(chart, details) {
    const most = Math.max(...chart.lines.map((line) => line.mean.length));
    const table = document.createElement("table");
    const caption = table.createCaption().appendChild(document.createElement("span"));
    caption.textContent = `${chart.title}, by round: mean over the folds ± standard deviation.`;
    const cell = (row, text, scope) => {
      const made = row.appendChild(document.createElement(scope ? "th" : "td"));
      if (scope) made.scope = scope;
      made.textContent = text;
      return made;
    };
    const head = table.createTHead().insertRow();
    cell(head, "method", "col").className = "text";
    for (let round = 1; round <= most; round++) cell(head, round, "col");
    const body = table.createTBody();
    for (const line of chart.lines) {
      const row = body.insertRow();
      cell(row, methods[line.method].name, "row").className = "text";
      for (let place = 0; place < most; place++) {
        const [mean, sd] = [line.mean[place] ?? null, line.sd[place] ?? null];
        cell(row, mean === null || sd === null ? say(mean, chart) : `${say(mean, chart)} ± ${say(sd, chart)}`);
      }
    }
    const scroll = document.createElement("div");
    Object.assign(scroll, { className: "scroll", tabIndex: 0 });
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", chart.title);
    scroll.append(table);
    details.append(scroll);
  }

  const keys = [...document.querySelectorAll(".methods-key button[data-method]")];
  function show() {
    const shown = methods.length - hidden.size;
    for (const key of keys) key.setAttribute("aria-pressed", String(!hidden.has(methods[key.dataset.method].name)));
    for (const view of views) view.signal("hidden", [...hidden]).signal("bands", shown <= FEW ? 0.14 : 0).runAsync();
  }
  function pick(name) {
    for (const view of views) view.signal("picked", name).runAsync();
  }
  for (const key of keys) {
    const { name } = methods[key.dataset.method];
    key.addEventListener("click", () => { if (!hidden.delete(name)) hidden.add(name); show(); });
    for (const [on, off] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
      key.addEventListener(on, () => { if (!hidden.has(name)) pick(name); });
      key.addEventListener(off, () => pick(""));
    }
  }
  document.querySelector(".show-all").addEventListener("click", () => { hidden.clear(); show(); });
  document.querySelector(".hide-all").addEventListener("click", () => { for (const { name } of methods) hidden.add(name); show(); });

  /* A finger does not hover: a tap stands for it, until the next touch or scroll. */
  let tapped = null;
  const point = (kind, { clientX, clientY }) => {
    tapped.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX, clientY, pointerType: "touch" }));
  };
  const leave = (event) => { if (tapped) point("pointerout", event); tapped = null; };
  const tap = (event) => {
    if (event.pointerType !== "touch") return;
    tapped = event.target;
    for (const kind of ["pointerover", "pointermove"]) point(kind, event);
  };
  for (const kind of ["pointerdown", "scroll"]) addEventListener(kind, leave, { passive: true });

  document.body.classList.add("drawn");
  const key = document.querySelector(".methods-key"); // it stays above the curves: their headings stop below it
  new ResizeObserver(() => document.documentElement.style.setProperty("--key", `${key.offsetHeight}px`)).observe(key);
  for (const chart of charts) {
    const figure = document.getElementById(`chart-${chart.name}`);
    const height = figure.closest(".small") ? 140 : 220;
    const { view } = await vegaEmbed(figure.querySelector(".plot"), spec(chart, height), options);
    views.push(view);
    figure.querySelector(".plot").addEventListener("click", tap);
    for (const button of figure.querySelectorAll(".zoom button")) {
      button.addEventListener("click", () => zoomed(view, chart, Number(button.dataset.factor)));
    }
    const details = figure.querySelector(".numbers");
    details.addEventListener("toggle", () => numbers(chart, details), { once: true });
  }
  show();
  document.body.classList.add("ready");
  dispatchEvent(new Event("scroll")); // the sections have moved
})();
