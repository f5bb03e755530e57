// Charts of the report, as Vega-Lite specifications made from the rows (rows.js). all_charts(rows) returns
// those that have data; a chart without data is left out. Drawing is in draw.js.
const timed = (rows) => rows.filter((row) => known(row.tflops));
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

// Ratios of all points to their baselines, with one line for each experiment. The middle line is a ratio of
// 1.
function ratio_chart(rows) {
  const values = timed(rows).filter((row) => known(row.ratio)).map((row) => ({
    experiment: row.experiment, point: row.label + (row.path ? ' ' + row.path : ''), with: row.with, verdict: row.verdict,
    ratio: row.ratio, lo: row.ratio_lo, hi: row.ratio_hi, coverage: row.ratio_coverage}));
  if (values.length === 0) return null;
  const y = nominal('experiment', null, {sort: null, axis: {labelLimit: narrow() ? 110 : 360, grid: true}});
  const colors = {domain: ['faster', 'slower', 'within noise', 'inconclusive', 'cannot tell'], range: ['@good', '@bad', '@soft', '@soft', '@soft']};
  const color = nominal('verdict', null, {scale: colors, legend: {...below, columns: narrow() ? 2 : 4}});
  const x = quantitative('ratio', 'throughput over the baseline', {scale: {type: 'log', nice: false, padding: 12}, axis: ratio_axis(values.flatMap((value) => [value.ratio, value.lo, value.hi]).filter(known))});
  return {title: 'Headline ratios', caption: 'Throughput of each point over its baseline (for overlap paths: over staged_dp, unless a baseline point is named)' + interval_words(values) + '.',
    wide: true, values, spec: {height: 22 * distinct(values, 'experiment'), layer: [
      {data: {values: [{one: 1}]}, mark: {type: 'rule', color: '@soft', strokeDash: [4, 3]}, encoding: {x: {field: 'one', type: 'quantitative'}}},
      {mark: {type: 'rule', strokeWidth: 2, opacity: 0.5}, encoding: {y, x: {...x, field: 'lo'}, x2: {field: 'hi'}, color}},
      {mark: {type: 'point', filled: true, size: 70, opacity: 0.9}, encoding: {y, x, color, tooltip: ['point', 'with', 'ratio', 'lo', 'hi', 'verdict'].map((field) => ({field}))}},
    ]}};
}

// Points of one series have one experiment and path, and equal values on all other axes.
function curve_values(rows, axis, field) {
  const series = new Map();
  for (const row of timed(rows)) {
    if (typeof row.axes[axis] !== 'number' || !known(row[field])) continue;
    const words = [row.name, axes_words(row.axes, [axis]), row.path].filter(Boolean).join(' · ');
    if (!series.has(words)) series.set(words, []);
    series.get(words).push({series: words, x: row.axes[axis], value: row[field], lo: row.lo, hi: row.hi, coverage: row.coverage});
  }
  const count = (values) => new Set(values.map((value) => value.x)).size;
  const fewest = [...series.values()].some((values) => count(values) > 2) ? 3 : 2;
  return [...series.values()].filter((values) => count(values) >= fewest).flat();
}

function curve_chart(rows, axis, field, title, axis_title, value_title, wide) {
  const values = curve_values(rows, axis, field);
  if (values.length === 0) return null;
  const x = quantitative('x', axis_title, {scale: {zero: false, nice: false, padding: 12}, axis: {values: [...new Set(values.map((value) => value.x))], format: 'd', labelOverlap: true}});
  const color = nominal('series', null, {legend: {...below, columns: wide ? 2 : 1}});
  const layer = [{mark: {type: 'line', point: {size: 45}, strokeWidth: 2}, encoding: {x, color,
    y: quantitative('value', value_title, {scale: {zero: true}, axis: {format: field === 'tflops' ? '~g' : '~s'}}),
    tooltip: [{field: 'series'}, {field: 'x', title: axis_title}, {field: 'value', title: value_title, format: '.4~g'}]}}];
  if (field === 'tflops') layer.unshift({mark: {type: 'rule', opacity: 0.5}, encoding: {x, color, y: {field: 'lo', type: 'quantitative'}, y2: {field: 'hi'}}});
  return {title, caption: 'Medians over rounds' + (field === 'tflops' ? interval_words(values) : '') + '.', wide, values, spec: {height: 280, layer}};
}

// Shares of a step by stage, for points whose stages were timed.
function stage_chart(rows) {
  const values = [];
  for (const row of timed(rows)) {
    const stages = row.stages || {};
    for (const pass of ['forward', 'backward']) {
      for (const [stage, seconds] of Object.entries(stages[pass] || {})) {
        values.push({point: row.name + ' · ' + axes_words(row.axes), stage: (pass === 'backward' ? 'backward ' : '') + stage.replaceAll('_', ' '), order: values.length, seconds});
      }
    }
    if (values.length && known(stages.unaccounted_s) && Object.keys(stages.forward || {}).length) {
      values.push({point: row.name + ' · ' + axes_words(row.axes), stage: 'unaccounted', order: values.length, seconds: Math.max(0, stages.unaccounted_s)});
    }
  }
  if (values.length === 0) return null;
  return {title: 'Stages', caption: 'Share of each stage in the step, of the round nearest the median.', wide: true, values, spec: {
    height: 26 * distinct(values, 'point'), mark: {type: 'bar', stroke: '@card', strokeWidth: 1}, encoding: {
      y: nominal('point', null, {sort: null, axis: {labelLimit: narrow() ? 120 : 380}}),
      x: quantitative('seconds', 'share of the step', {stack: 'normalize', axis: {format: '.0%'}}),
      color: nominal('stage', null, {sort: null, scale: {scheme: 'tableau20'}, legend: {...below, columns: narrow() ? 2 : 6}}),
      order: {field: 'order', type: 'quantitative'},
      tooltip: [{field: 'point'}, {field: 'stage'}, {field: 'seconds', format: '.3~s', title: 'seconds'}]}}};
}

function imbalance_chart(rows) {
  const values = timed(rows).filter((row) => known(row.device_imbalance) && row.devices > 1).map((row) => ({
    point: row.label, experiment: row.name, imbalance: row.device_imbalance, ratio: row.tflops, mode: row.mode}));
  if (values.length === 0) return null;
  return {title: 'Device imbalance', caption: 'Assignments of the busiest device over the mean, which bounds what sharding experts can gain. 1 is balance.', values, spec: {
    height: 280, mark: {type: 'point', filled: true, size: 55, opacity: 0.7}, encoding: {
      x: quantitative('imbalance', 'busiest device over mean', {scale: {domainMin: 1, nice: true}, axis: {format: '.2~f', tickCount: 5}}),
      y: nominal('experiment', null, {sort: null, axis: {grid: true, labelLimit: 150}}),
      color: nominal('mode', null, {legend: below}),
      tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'imbalance', format: '.3f'}]}}};
}

// The roofline: the speed that peak and read bandwidth of the cores allow, and the speed that was achieved.
function roofline_chart(rows) {
  const values = timed(rows).filter((row) => known(row.intensity)).map((row) => ({
    experiment: row.name, point: row.label, mode: row.mode, intensity: row.intensity, tflops: row.tflops}));
  const roofs = timed(rows).filter((row) => known(row.peak) && known(row.read_gbps));
  if (values.length === 0 || roofs.length === 0) return null;
  const peak = Math.max(...roofs.map((row) => row.peak)), gbps = Math.max(...roofs.map((row) => row.read_gbps));
  const knee = 1000 * peak / gbps;
  const from = Math.min(knee / 3, ...values.map((value) => value.intensity)), to = Math.max(knee * 3, ...values.map((value) => value.intensity));
  const roof = [from, knee, to].map((intensity) => ({intensity, tflops: Math.min(peak, intensity * gbps / 1000)}));
  const x = quantitative('intensity', 'FLOPs per byte that must move', {scale: {type: 'log', nice: false, padding: 8}, axis: {format: '~s', tickCount: 6}});
  const y = quantitative('tflops', 'TF/s', {scale: {type: 'log', nice: false, padding: 12}, axis: {format: '~g', tickCount: 6}});
  return {title: 'Roofline', caption: `Bound by ${figure(gbps)} GB/s and ${figure(peak)} TF/s, both measured on the same cores; intensity from the least bytes a step moves.`, values, spec: {
    height: 280, layer: [
      {data: {values: roof}, mark: {type: 'line', color: '@soft', strokeWidth: 2}, encoding: {x, y}},
      {mark: {type: 'point', filled: true, size: 55, opacity: 0.75}, encoding: {x, y, color: nominal('mode', null, {legend: below}),
        tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'intensity', format: '.3~g'}, {field: 'tflops', format: '.3~g', title: 'TF/s'}]}}]}};
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
      {mark: {type: 'point', filled: true, size: 60, opacity: 0.8}, encoding: {x, y, color: nominal('experiment', null, {legend: below}),
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
      color: nominal('mode', null, {legend: below}),
      tooltip: [{field: 'experiment'}, {field: 'point'}, {field: 'error', format: '+.1%'}]}}};
}

function all_charts(rows) {
  return [
    ratio_chart(rows),
    curve_chart(rows, 'topk', 'tflops', 'TF/s by top-k', 'top-k', 'TF/s'),
    curve_chart(rows, 'topk', 'tokens_per_s', 'Tokens/s by top-k', 'top-k', 'tokens/s'),
    curve_chart(rows, 'mlp_dim', 'tflops', 'TF/s by width of an expert', 'width of an expert', 'TF/s'),
    curve_chart(rows, 'experts', 'tflops', 'TF/s by number of experts', 'experts', 'TF/s'),
    stage_chart(rows), roofline_chart(rows), imbalance_chart(rows), published_chart(rows), prediction_chart(rows),
  ].filter(Boolean);
}
