"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const originals = {};

function narrow() { return window.innerWidth < 600; }

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), soft: of("--soft"), line: of("--line"), paper: of("--paper") };
}

function themed(layout) {
  const { ink, soft, line, paper } = colours();
  const themed = {
    ...layout,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", size: narrow() ? 11 : 12.5, color: ink },
    margin: { l: 58, r: narrow() ? 8 : 20, t: 12, b: 48 },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.0, yanchor: "bottom", ...layout.legend },
    hoverlabel: { bgcolor: paper, bordercolor: soft, font: { color: ink }, align: "left" },
  };
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis/.test(key)) {
      themed[key] = {
        gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...layout[key],
        title: { standoff: 8, ...layout[key].title },
      };
    }
  }
  return themed;
}

function recolour(layout) {
  // After a change of the page's colours: what choices have done to the layout stays.
  const fresh = themed(layout), changed = { "font.color": fresh.font.color };
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis/.test(key)) {
      for (const name of ["gridcolor", "zerolinecolor", "linecolor"]) { changed[`${key}.${name}`] = fresh[key][name]; }
    }
  }
  changed["hoverlabel.bgcolor"] = fresh.hoverlabel.bgcolor;
  changed["hoverlabel.font.color"] = fresh.hoverlabel.font.color;
  return changed;
}

function runningMean(values, half) {
  return values.map((value, at) => {
    const near = values.slice(Math.max(0, at - half), at + half + 1).filter((v) => v !== null);
    return value === null || near.length === 0 ? null : near.reduce((a, b) => a + b, 0) / near.length;
  });
}

function smooth(chart, on) {
  const lines = originals[chart.name].map((y) => (on && y.length > 1 ? runningMean(y, Math.max(2, Math.round(y.length / 40))) : y));
  return Plotly.restyle(chart.name, { y: lines });
}

async function choose(chart, row, place) {
  if (row === "lines" && chart.smooth) { return smooth(chart, place === 1); }
  const { restyle, traces, relayout, visible } = chart.choices[row][place];
  if (visible) { await Plotly.restyle(chart.name, { visible }); }
  // In a restyle, a list is an entry for each trace.
  const update = traces ? [restyle, relayout, traces] : [restyle, relayout];
  return Plotly.update(chart.name, ...update);
}

function listen(chart) {
  for (const row of document.querySelectorAll(`.choices[data-chart="${chart.name}"]`)) {
    const buttons = [...row.querySelectorAll("button")];
    buttons.forEach((button, place) => button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      choose(chart, row.dataset.row, place);
    }));
  }
}

async function draw() {
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  for (const chart of charts) {
    originals[chart.name] = chart.data.map((trace) => trace.y || []);
    await Plotly.newPlot(chart.name, chart.data, themed(chart.layout), config);
    if (chart.smooth === "on") { await smooth(chart, true); }
    listen(chart);
  }
  dark.addEventListener("change", () => charts.forEach((chart) => Plotly.relayout(chart.name, recolour(chart.layout))));
}

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function start() {
  if (charts.length === 0) { return; }
  try {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    document.head.append(script);
    await draw();
  } catch (error) {
    const warning = document.createElement("p");
    warning.className = "warning";
    warning.textContent = `The figures can't be drawn (${error}); they need a browser of 2023 or later.`;
    document.querySelector("header").append(warning);
  }
}

start();
