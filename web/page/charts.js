// Charts of the report, as Vega-Lite specifications made from the rows (rows.js). all_charts(rows) returns
// those that have data; a chart without data is left out. Drawing is in draw.js.
//
//   all_charts(rows).map((chart) => chart.title);   // ['Ratios to the baseline', 'GF/s by top-k', ...]
const timed = (rows) => rows.filter((row) => known(row.gflops));
const quantitative = (field, title, more = {}) => ({field, type: 'quantitative', title, ...more});
const nominal = (field, title, more = {}) => ({field, type: 'nominal', title, ...more});
const narrow = () => window.innerWidth < 760;
// Ticks for a logarithmic axis that spans little more than a factor of ten.
const ratio_axis = (values) => ({format: '.2~f', labelOverlap: true, values: [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 7, 10, 20]
  .filter((tick) => tick >= 0.95 * Math.min(1, ...values) && tick <= 1.05 * Math.max(1, ...values))});
const distinct = (values, field) => new Set(values.map((value) => value[field])).size;
const below = {orient: 'bottom', columns: 2, symbolLimit: 24, labelLimit: 260, symbolOpacity: 1, title: null};

// Returns a phrase that says how often the intervals of a chart cover the true value.
function interval_words(values) {
  const coverages = [...new Set(values.map((value) => value.coverage).filter(known))].sort().map(percent);
  return coverages.length ? ', with intervals of ' + coverages.join(' and ') : '';
}

// At most this many rows of ratios are drawn, those farthest from 1: the tables have all of them.
const most_ratio_rows = 40;

// Returns the ends of an axis of ratios. Intervals far wider than the others do not stretch it: the ends are those of all
// ratios and of the intervals up to three times as wide as the median one.
function ratio_ends(values) {
  const widths = values.filter((value) => known(value.lo) && value.lo > 0).map((value) => Math.log(value.hi / value.lo)).sort((a, b) => a - b);
  const usual = widths.length ? 3 * widths[Math.floor(widths.length / 2)] : 0;
  const room = Math.max(usual, 0.05);
  const inside = values.filter((value) => known(value.lo) && value.lo > 0 && Math.log(value.hi / value.lo) <= room);
  const all = [1, ...values.map((value) => value.ratio), ...inside.flatMap((value) => [value.lo, value.hi])];
  return [0.97 * Math.min(...all), 1.03 * Math.max(...all)];
}

// Returns a text of at most `most` characters, cut in its middle: labels of points often differ only at their end.
const cut_middle = (text, most) => (text.length <= most ? text : text.slice(0, Math.ceil(most / 2) - 1) + '…' + text.slice(1 - Math.floor(most / 2)));

// Ratios of the points to their baselines, with a row for each point. The dashed line is a ratio of 1. Verdicts differ in
// colour and in shape, so that they can be told apart without colours. An interval that leaves the chart is cut, with an
// arrow at the cut.
function ratio_chart(rows) {
  const all = timed(rows).filter((row) => known(row.ratio) && row.ratio > 0);
  if (all.length === 0) return null;
  const far = (row) => Math.abs(Math.log(row.ratio));
  const kept = new Set([...all].sort((a, b) => far(b) - far(a)).slice(0, most_ratio_rows));
  const values = all.filter((row) => kept.has(row)).map((row, i) => ({
    row: i, name: row.name + ': ' + row.label + (row.path ? ' ' + row.path : ''), experiment: row.experiment, with: row.with, verdict: row.verdict,
    ratio: row.ratio, lo: row.ratio_lo, hi: row.ratio_hi, coverage: row.ratio_coverage}));
  const [least, most] = ratio_ends(values);
  for (const value of values) {
    if (!known(value.lo)) continue;
    value.from = Math.max(value.lo, least);
    value.to = Math.min(value.hi, most);
  }
  const cut_left = values.filter((value) => value.lo < least), cut_right = values.filter((value) => value.hi > most);
  const small = narrow();
  // On a narrow screen the name of a point stands above its mark, where there is room for it.
  values.forEach((value) => { value.name = cut_middle(value.name, small ? 50 : 52); });
  const y = nominal('row', null, {sort: null, axis: {labels: false, grid: true}});
  const verdicts = ['faster', 'slower', 'within noise', 'inconclusive', 'cannot tell', 'identical'];
  const color = nominal('verdict', null, {scale: {domain: verdicts, range: ['@faster', '@slower', '@soft', '@doubt', '@doubt', '@soft']}, legend: {...below, columns: small ? 2 : 6}});
  const shape = nominal('verdict', null, {scale: {domain: verdicts, range: ['triangle-right', 'triangle-left', 'circle', 'diamond', 'cross', 'square']}, legend: {...below, columns: small ? 2 : 6}});
  const x = quantitative('ratio', 'throughput over the baseline', {scale: {type: 'log', nice: false, domain: [least, most], padding: 12}, axis: ratio_axis([least, most])});
  const arrows = (list, field, angle) => ({data: {values: list}, mark: {type: 'point', shape: 'triangle-' + angle, filled: false, size: 60, strokeWidth: 2, opacity: 1, color: '@ink'},
    encoding: {y, x: {...x, field}}});
  const names = {mark: {type: 'text', align: small ? 'left' : 'right', dx: small ? 0 : -8, dy: small ? -10 : 0, fontSize: small ? 11 : 12, color: '@ink', limit: small ? window.innerWidth - 70 : 420},
    encoding: {y, x: {value: 0}, text: {field: 'name'}}};
  return {title: 'Ratios to the baseline', caption: 'Throughput of each point over its baseline (for overlap paths: over staged_dp, unless a baseline point is named)' + interval_words(values) +
      '. A circle is equal within the noise; a diamond is inconclusive, more rounds may decide it.' + (cut_left.length + cut_right.length ? ' An arrow marks an interval that goes on beyond the chart.' : '') +
      (all.length > values.length ? ` The ${values.length} of ${all.length} that are farthest from 1; the tables have all.` : ''),
    wide: true, values, spec: {height: (small ? 34 : 20) * values.length, layer: [
      {data: {values: [{one: 1}]}, mark: {type: 'rule', color: '@soft', strokeDash: [4, 3]}, encoding: {x: {field: 'one', type: 'quantitative'}}},
      {transform: [{filter: 'isValid(datum.from)'}], mark: {type: 'rule', strokeWidth: 2, opacity: 0.7}, encoding: {y, x: {...x, field: 'from'}, x2: {field: 'to'}, color}},
      ...(cut_left.length ? [arrows(cut_left, 'from', 'left')] : []), ...(cut_right.length ? [arrows(cut_right, 'to', 'right')] : []),
      {mark: {type: 'point', filled: true, size: 80, opacity: 1}, encoding: {y, x, color, shape, tooltip: ['name', 'with', 'ratio', 'lo', 'hi', 'verdict'].map((field) => ({field}))}},
      names,
    ]}};
}

// Points of one series have one experiment and path, and equal values on all other axes.
function curve_values(rows, axis, field) {
  const series = new Map();
  for (const row of timed(rows)) {
    if (typeof row.axes[axis] !== 'number' || !known(row[field])) continue;
    const words = [row.name, axes_words(row.axes, [axis]), row.path].filter(Boolean).join(' · ');
    if (!series.has(words)) series.set(words, []);
    series.get(words).push({series: words, name: row.name, x: row.axes[axis], value: row[field], lo: row.lo, hi: row.hi, coverage: row.coverage});
  }
  const count = (values) => new Set(values.map((value) => value.x)).size;
  const fewest = [...series.values()].some((values) => count(values) > 2) ? 3 : 2;
  return [...series.values()].filter((values) => count(values) >= fewest).flat();
}

// More series than this cannot be told apart in one chart.
const most_series = 8;

// Returns colours and shapes by a field, for people who do not see all colours; nothing if there are too many values.
function told_apart(values, field, legend = below) {
  if (distinct(values, field) > most_series) return {};
  return {color: nominal(field, null, {legend}), shape: nominal(field, null, {legend})};
}

// Returns one chart of all experiments, or a chart for each if there are too many series for one.
function curve_charts(rows, axis, field, title, axis_title, value_title) {
  const values = curve_values(rows, axis, field);
  if (values.length === 0) return [];
  if (distinct(values, 'series') <= most_series) return [curve_chart(values, field, title, axis_title, value_title)];
  return [...new Set(values.map((value) => value.name))].map((name) =>
    curve_chart(values.filter((value) => value.name === name), field, title + ', ' + name, axis_title, value_title));
}

// Returns the largest GF/s that a chart shows. An interval far wider than the others does not stretch the axis: it ends
// at the largest point and the ends of the intervals up to three times as wide as the median one.
function curve_top(values) {
  const largest = Math.max(...values.map((value) => value.value));
  const bounded = values.filter((value) => known(value.lo) && known(value.hi)), width = (value) => value.hi - value.lo;
  const widths = bounded.map(width).sort((a, b) => a - b);
  const room = Math.max(widths.length ? 3 * widths[Math.floor(widths.length / 2)] : 0, 0.05 * largest);
  return 1.03 * Math.max(largest, ...bounded.filter((value) => width(value) <= room).map((value) => value.hi));
}

function curve_chart(all, field, title, axis_title, value_title) {
  const names = [...new Set(all.map((value) => value.series))], drawn_names = names.slice(0, most_series);
  // Series are shifted against each other, or their intervals would hide one another.
  const ticks = [...new Set(all.map((value) => value.x))], step = 0.012 * (Math.max(...ticks) - Math.min(...ticks));
  const drawn_values = all.filter((value) => drawn_names.includes(value.series)), bounded = field === 'gflops';
  const top = bounded ? curve_top(drawn_values) : Infinity;
  const values = drawn_values.map((value) => ({...value, to: known(value.hi) ? Math.min(value.hi, top) : null,
    at: value.x + step * (drawn_names.indexOf(value.series) - (drawn_names.length - 1) / 2)}));
  const cut = values.filter((value) => known(value.hi) && value.hi > top);
  const x = quantitative('at', axis_title, {scale: {zero: false, nice: false, padding: 12}, axis: {values: ticks, format: 'd', labelOverlap: true}});
  const tooltip = [{field: 'series'}, {field: 'x', title: axis_title}, {field: 'value', title: value_title, format: '.4~g'}];
  const {color, shape} = told_apart(values, 'series', {...below, columns: 1});
  const y = quantitative('value', value_title, {scale: cut.length ? {domain: [0, top], nice: false} : {zero: true}, axis: {format: bounded ? ',.4~r' : '~s'}});
  const layer = [{mark: {type: 'line', strokeWidth: 1.5}, encoding: {x, y, color}}, {mark: {type: 'point', filled: true, size: 55, opacity: 1}, encoding: {x, y, color, shape, tooltip}}];
  if (bounded) layer.unshift({mark: {type: 'rule', strokeWidth: 2, opacity: 0.6}, encoding: {x, color, y: {field: 'lo', type: 'quantitative'}, y2: {field: 'to'}}});
  if (cut.length) layer.push({data: {values: cut}, mark: {type: 'point', shape: 'triangle-up', filled: false, size: 60, strokeWidth: 2, opacity: 1, color: '@ink'}, encoding: {x, y: {...y, field: 'to'}}});
  return {title, caption: 'Medians over rounds' + (bounded ? interval_words(values) : '') + '.' + (names.length > 1 ? ' Series stand side by side.' : '') +
    (cut.length ? ' An arrow marks an interval that goes on beyond the chart.' : '') +
    (names.length > most_series ? ` The first ${most_series} of ${names.length} series.` : ''), values, spec: {height: 280, layer}};
}

// At most this many points have their stages drawn.
const most_stage_rows = 30;

// Shares of a step by stage, for points whose stages were timed.
function stage_chart(rows) {
  const values = [], all = timed(rows).filter((row) => row.stages && Object.keys(row.stages.forward || {}).length);
  for (const row of all.slice(0, most_stage_rows)) {
    const stages = row.stages;
    for (const pass of ['forward', 'backward']) {
      for (const [stage, seconds] of Object.entries(stages[pass] || {})) {
        values.push({point: row.name + ' · ' + axes_words(row.axes), stage: (pass === 'backward' ? 'backward ' : '') + stage.replaceAll('_', ' '), order: values.length, seconds});
      }
    }
    if (known(stages.unaccounted_s)) {
      values.push({point: row.name + ' · ' + axes_words(row.axes), stage: 'unaccounted', order: values.length, seconds: Math.max(0, stages.unaccounted_s)});
    }
  }
  if (values.length === 0) return null;
  const totals = new Map();
  for (const value of values) totals.set(value.point, (totals.get(value.point) || 0) + value.seconds);
  for (const value of values) {
    value.share = value.seconds / totals.get(value.point);
    value.middle = values.filter((other) => other.point === value.point && other.order < value.order).reduce((sum, other) => sum + other.share, 0) + value.share / 2;
    // The name stands in the bar where there is room, so that no colour has to be looked up.
    value.word = value.share * (narrow() ? 230 : 700) > 7 * value.stage.length ? value.stage : '';
  }
  const y = nominal('point', null, {sort: null, axis: {labelLimit: narrow() ? 120 : 380}});
  const x = quantitative('share', 'share of the step', {stack: 'zero', scale: {domain: [0, 1]}, axis: {format: '.0%'}});
  return {title: 'Stages', caption: 'Share of each stage in the step, of the round nearest the median.' + (all.length > most_stage_rows ? ` The first ${most_stage_rows} of ${all.length} points.` : ''), wide: true, values, spec: {
    height: 26 * distinct(values, 'point'), layer: [
      {mark: {type: 'bar', stroke: '@card', strokeWidth: 2}, encoding: {y, x,
        color: nominal('stage', null, {sort: null, scale: {scheme: 'tableau20'}, legend: {...below, columns: narrow() ? 2 : 6}}),
        order: {field: 'order', type: 'quantitative'},
        tooltip: [{field: 'point'}, {field: 'stage'}, {field: 'seconds', format: '.3~s', title: 'seconds'}]}},
      {mark: {type: 'text', color: '#000', fontSize: 11}, encoding: {y, x: {...quantitative('middle', null), stack: null}, text: {field: 'word'}}}]}};
}

function imbalance_chart(rows) {
  const values = timed(rows).filter((row) => known(row.device_imbalance) && row.devices > 1).map((row) => ({
    point: row.label, experiment: row.name, imbalance: row.device_imbalance, ratio: row.gflops, mode: row.mode}));
  if (values.length === 0) return null;
  return {title: 'Device imbalance', caption: 'Assignments of the busiest device over the mean, which bounds what sharding experts can gain. 1 is balance.', values, spec: {
    height: 280, mark: {type: 'point', filled: true, size: 55, opacity: 0.7}, encoding: {
      x: quantitative('imbalance', 'busiest device over mean', {scale: {domainMin: 1, nice: true}, axis: {format: '.2~f', tickCount: 5}}),
      y: nominal('experiment', null, {sort: null, axis: {grid: true, labelLimit: 150}}),
      ...told_apart(values, 'mode'),
      tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'imbalance', format: '.3f'}]}}};
}

// The roofline: the speed that peak and read bandwidth of the cores allow, and the speed that was achieved.
function roofline_chart(rows) {
  const values = timed(rows).filter((row) => known(row.intensity)).map((row) => ({
    experiment: row.name, point: row.label, mode: row.mode, intensity: row.intensity, gflops: row.gflops}));
  const roofs = timed(rows).filter((row) => known(row.peak) && known(row.read_gbps));
  if (values.length === 0 || roofs.length === 0) return null;
  const peak = Math.max(...roofs.map((row) => row.peak)), gbps = Math.max(...roofs.map((row) => row.read_gbps));
  const knee = peak / gbps;
  const from = Math.min(knee / 3, ...values.map((value) => value.intensity)), to = Math.max(knee * 3, ...values.map((value) => value.intensity));
  const roof = [from, knee, to].map((intensity) => ({intensity, gflops: Math.min(peak, intensity * gbps)}));
  const x = quantitative('intensity', 'FLOPs per byte that must move', {scale: {type: 'log', nice: false, padding: 8}, axis: {format: '~s', tickCount: 6}});
  const y = quantitative('gflops', 'GF/s', {scale: {type: 'log', nice: false, padding: 12}, axis: {format: ',.4~r', tickCount: 6}});
  return {title: 'Roofline', caption: `Bound by ${figure(gbps)} GB/s and ${figure(peak)} GF/s, both measured on the same cores; intensity from the least bytes a step moves.`, values, spec: {
    height: 280, layer: [
      {data: {values: roof}, mark: {type: 'line', color: '@soft', strokeWidth: 2}, encoding: {x, y}},
      {mark: {type: 'point', filled: true, size: 55, opacity: 0.75}, encoding: {x, y, ...told_apart(values, 'mode'),
        tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'intensity', format: '.3~g'}, {field: 'gflops', format: '.3~g', title: 'GF/s'}]}}]}};
}

// Each ratio as measured here and as published: points on the line agree.
function published_chart(rows) {
  const values = timed(rows).filter((row) => known(row.ratio) && known(row.published_ratio)).map((row) => ({
    experiment: row.name, point: row.label + (row.path ? ' ' + row.path : ''), here: row.ratio, published: row.published_ratio}));
  if (values.length === 0) return null;
  const all = values.flatMap((value) => [value.here, value.published]);
  const ends = [Math.min(...all), Math.max(...all)].map((value) => ({here: value, published: value}));
  const scale = {type: 'log', nice: false, padding: 12}, axis = ratio_axis(all);
  const x = quantitative('published', 'ratio published', {scale, axis}), y = quantitative('here', 'ratio here', {scale, axis});
  return {title: 'Ratios here against those published', caption: 'Points on the line agree. The original often compared one chip with four: see the defects.', values, spec: {
    height: 280, layer: [
      {data: {values: ends}, mark: {type: 'line', color: '@soft', strokeDash: [4, 3]}, encoding: {x, y}},
      {mark: {type: 'point', filled: true, size: 60, opacity: 0.8}, encoding: {x, y, ...told_apart(values, 'experiment'),
        tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'here', format: '.3f'}, {field: 'published', format: '.3f'}]}}]}};
}

function prediction_chart(rows) {
  const values = timed(rows).filter((row) => known(row.predicted)).map((row) => ({
    experiment: row.name, point: row.label, error: row.predicted - 1, mode: row.mode}));
  if (values.length === 0) return null;
  return {title: 'Error of the model', caption: 'Predicted over measured time, less 1: right of zero the model is too slow.', values, spec: {
    height: 280, mark: {type: 'point', filled: true, size: 55, opacity: 0.75}, encoding: {
      x: quantitative('error', 'error of the predicted time', {axis: {format: '+.0%'}}),
      y: nominal('experiment', null, {sort: null, axis: {grid: true, labelLimit: 150}}),
      ...told_apart(values, 'mode'),
      tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'error', format: '+.1%'}]}}};
}

function all_charts(rows) {
  return [
    ratio_chart(rows),
    ...curve_charts(rows, 'topk', 'gflops', 'GF/s by top-k', 'top-k', 'GF/s'),
    ...curve_charts(rows, 'topk', 'tokens_per_s', 'Tokens/s by top-k', 'top-k', 'tokens/s'),
    ...curve_charts(rows, 'mlp_dim', 'gflops', 'GF/s by width of an expert', 'width of an expert', 'GF/s'),
    ...curve_charts(rows, 'experts', 'gflops', 'GF/s by number of experts', 'experts', 'GF/s'),
    stage_chart(rows), roofline_chart(rows), imbalance_chart(rows), published_chart(rows), prediction_chart(rows),
  ].filter(Boolean);
}
