// Brings every explorable on the page to life: controls, text and curve over the grid stored beside them.
(() => {
  "use strict";

  const LINE = "#2f7fc1", NOW = "#c8641c", BAND = "rgba(47, 127, 193, .2)";

  // Plotly reads marks, links, formulas and templates in its texts; as references they are only shown.
  const plain = (text) => text.replace(/[&<>$%]/g, (mark) => `&#${mark.charCodeAt(0)};`);

  // Position of an entry in a grid stored row by row.
  const offset = (sizes, position) => position.reduce((sum, index, axis) => sum * sizes[axis] + index, 0);

  function start(root) {
    const grid = JSON.parse(root.querySelector(".zk-grid").textContent);
    const sizes = grid.axes.map((axis) => axis.labels.length);
    const position = grid.axes.map((axis) => axis.default);
    const controls = [...root.querySelectorAll("[data-axis]")];

    const where = (at) => grid.axes.flatMap((axis, i) => axis.slider ? [`${axis.title} ${axis.labels[at[i]]}`] : []);

    function fill(pane, at) {
      const text = grid.text[offset(sizes, at)];
      const shown = pane.querySelector(".zk-text");
      shown.textContent = text || grid.empty;
      shown.classList.toggle("zk-none", !text);
      if (grid.notes) pane.querySelector(".zk-note").textContent = grid.notes[offset(sizes, at)];
    }

    function update() {
      for (const control of controls) {
        const axis = Number(control.dataset.axis);
        const label = grid.axes[axis].labels[position[axis]];
        control.value = position[axis];
        if (!grid.axes[axis].slider) continue;
        control.setAttribute("aria-valuetext", label);
        control.parentElement.querySelector("output").textContent = label;
      }
      const now = root.querySelector(".zk-now");
      now.querySelector(".zk-where").textContent = where(position).join(", ");
      fill(now, position);
      if (grid.baseline) {
        const at = [...position];
        at[grid.baseline.axis] = grid.baseline.index;
        fill(root.querySelector(".zk-base"), at);
      }
      if (grid.curve && plotted) move();
    }

    // The curve: a slice of its own grid along x, at the present place on its other axes.
    let plotted = false;
    const plot = root.querySelector(".zk-plot");

    function slice() {
      const { axes, x, category } = grid.curve;
      const points = category ? grid.curve.points.map(plain) : grid.curve.points;
      const at = (i) => offset(axes.map((a) => sizes[a]), axes.map((a) => (a === x ? i : position[a])));
      const pick = (values) => points.map((_, i) => values[at(i)]);
      const y = pick(grid.curve.y), low = grid.curve.low && pick(grid.curve.low), high = grid.curve.high && pick(grid.curve.high);
      const sure = points.map((_, i) => i).filter((i) => low && low[i] !== null && high[i] !== null);
      const back = [...sure].reverse();
      return {
        line: { x: [points], y: [y] },
        band: { x: [[...sure.map((i) => points[i]), ...back.map((i) => points[i])]],
                y: [[...sure.map((i) => high[i]), ...back.map((i) => low[i])]] },
        now: { x: [[points[position[x]]]], y: [[y[position[x]]]] },
        beside: (grid.curve.beside || []).map((c) => ({ x: [points], y: [pick(c.y)] })),
      };
    }

    function move() {
      const { band, line, now, beside } = slice();
      const parts = [band, line, now, ...beside];
      Plotly.restyle(plot, { x: parts.map((p) => p.x[0]), y: parts.map((p) => p.y[0]) }, parts.map((_, i) => i));
    }

    const ink = () => getComputedStyle(root).color;
    const faint = () => ink().replace(/rgba?\(([^,]+,[^,]+,[^,)]+).*\)/, "rgba($1, .18)");
    const colours = () => ({ "font.color": ink(), "xaxis.gridcolor": faint(), "yaxis.gridcolor": faint(),
                             "xaxis.linecolor": ink(), "yaxis.linecolor": ink() });

    function draw() {
      if (plotted || !grid.curve || !window.Plotly) return;
      const { band, line, now, beside } = slice();
      const { range, references, category } = grid.curve;
      const named = (c) => plain(c.label);
      const ylabel = plain(grid.curve.ylabel), xlabel = plain(grid.curve.xlabel);
      const axis = { zeroline: false, automargin: true, fixedrange: true, gridcolor: faint(), linecolor: ink() };
      const layout = {
        margin: { l: 50, r: 12, t: 28, b: 45 },
        showlegend: beside.length > 0, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 12 } }, hovermode: "closest",
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: ink(), size: 13, family: "inherit" },
        title: { text: ylabel, font: { size: 13 }, x: 0, xanchor: "left", y: 1, yanchor: "top", pad: { t: 6 } },
        xaxis: { ...axis, title: { text: xlabel, font: { size: 13 } }, type: category ? "category" : "linear" },
        yaxis: { ...axis, range },
        shapes: references.map((r) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: r.value, y1: r.value,
                                         line: { color: "#777d88", width: 1.5, dash: "dash" } })),
        annotations: references.map((r) => ({ xref: "paper", x: 1, xanchor: "right", y: r.value, yanchor: "bottom",
                                              text: plain(r.label), showarrow: false, font: { size: 12 } })),
      };
      const trace = (part, more) => ({ x: part.x[0], y: part.y[0], type: "scatter", ...more });
      root.dataset.plotted = "";
      Plotly.newPlot(plot, [
        trace(band, { showlegend: false, mode: "lines", fill: "toself", fillcolor: BAND, line: { width: 0 }, hoverinfo: "skip" }),
        trace(line, { name: ylabel, mode: "lines+markers", line: { color: LINE, width: 2.5 }, marker: { size: 7 },
                      hovertemplate: `${xlabel} %{x}: %{y:.3g}<extra></extra>` }),
        trace(now, { showlegend: false, mode: "markers", hoverinfo: "skip",
                     marker: { color: NOW, size: 15, symbol: "circle-open", line: { width: 3 } } }),
        ...beside.map((part, i) => trace(part, {
          mode: "lines", name: named(grid.curve.beside[i]), showlegend: true, line: { color: grid.curve.beside[i].color, width: 1.8 },
          hovertemplate: `${named(grid.curve.beside[i])}: %{y:.3g}<extra></extra>` })),
      ], layout, { responsive: true, displayModeBar: false }).then(() => {
        plotted = true;
        move();
        plot.on("plotly_click", ({ points }) => {
          if (points[0].curveNumber !== 1) return;
          position[grid.curve.x] = points[0].pointIndex;
          update();
        });
        const recolour = () => Plotly.relayout(plot, colours());
        new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
      });
    }

    for (const control of controls) {
      control.addEventListener("input", () => {
        position[Number(control.dataset.axis)] = Number(control.value);
        update();
      });
    }
    root.querySelector(".zk-controls").hidden = false;
    root.dataset.ready = "";
    update();
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", draw);
    else draw();
  }

  document.querySelectorAll(".zk-explorable:not([data-ready])").forEach(start);
})();
