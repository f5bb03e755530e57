// Draws the charts in the colours of the page, and again if these change. Expressions are interpreted by Vega
// and never evaluated as code, because the content policy forbids that.
const charts = () => all_charts(all_rows);

function charts_section() {
  const list = charts();
  if (list.length === 0) return element('p', {class: 'missing'}, 'Nothing is measured yet.');
  return element('div', {class: 'charts'}, list.map((chart, i) => element('figure', {class: chart.wide ? 'wide' : null},
    element('figcaption', {}, element('b', {}, chart.title), chart.caption),
    element('div', {class: 'chart', id: 'chart-' + i, role: 'img', 'aria-label': chart.title + '. The tables below have its figures.'}))));
}

const color_of = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

// Replaces words such as '@good' in a specification by the colour of that name in the page. Data are not
// searched for them.
function with_colors(spec) {
  if (typeof spec === 'string') return spec.startsWith('@') ? color_of(spec.slice(1)) : spec;
  if (Array.isArray(spec)) return spec.map(with_colors);
  if (spec === null || typeof spec !== 'object') return spec;
  return Object.fromEntries(Object.entries(spec).map(([key, value]) => [key, key === 'data' ? value : with_colors(value)]));
}

function theme() {
  const ink = color_of('ink'), soft = color_of('soft'), grid = color_of('grid'), line = color_of('line');
  const font = getComputedStyle(document.body).fontFamily;
  return {
    background: 'transparent', font, view: {stroke: null},
    axis: {labelColor: soft, titleColor: soft, gridColor: grid, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', titlePadding: 8, labelPadding: 5},
    axisY: {domain: false, ticks: false}, axisX: {grid: false},
    legend: {labelColor: ink, titleColor: soft, labelFontSize: 12, symbolSize: 80, rowPadding: 3, columnPadding: 16, padding: 4},
    // Colours that differ for colour-blind eyes too, with one palette for each ground; report_test.mjs measures that.
    range: {symbol: ['circle', 'square', 'triangle-up', 'diamond', 'cross', 'triangle-down', 'triangle-right', 'triangle-left'], category: matchMedia('(prefers-color-scheme: dark)').matches
      ? ['#2d70f5', '#f2ac5f', '#48b881', '#e7bcd3', '#f3f7d9', '#747474', '#a8bbf7', '#e14200']
      : ['#0758bd', '#732f00', '#06883f', '#c27c9d', '#a19a00', '#474f57', '#479be7', '#3e1805']},
    rule: {color: soft}, line: {strokeWidth: 2},
  };
}

function show_tip(handler, event, item, value) {
  let tip = document.getElementById('tip');
  if (!tip) { tip = element('div', {id: 'tip', role: 'status'}); document.body.append(tip); }
  tip.hidden = value === null || value === undefined || value === '';
  if (tip.hidden) return;
  const pairs = typeof value === 'object' ? Object.entries(value) : [['', value]];
  tip.replaceChildren(...pairs.map(([name, text]) => element('div', {}, element('span', {}, name), String(text))));
  const left = Math.min(event.pageX + 14, window.scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = Math.max(8, left) + 'px';
  tip.style.top = event.pageY + 14 + 'px';
}

let drawn = [];
async function draw_charts() {
  drawn.splice(0).forEach((result) => result.finalize());
  const list = charts();
  for (let i = 0; i < list.length; ++i) {
    const spec = {width: 'container', autosize: {type: 'fit-x', contains: 'padding'}, data: {values: list[i].values}, ...with_colors(list[i].spec)};
    drawn.push(await vegaEmbed('#chart-' + i, spec, {mode: 'vega-lite', renderer: 'svg', actions: false, defaultStyle: false,
      ast: true, expr: vegaInterpreter, tooltip: show_tip, config: theme(), logLevel: vega.Warn}));
  }
  document.documentElement.setAttribute('data-charts', String(list.length));
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw_charts());
