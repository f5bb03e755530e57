// Rows: the results of all experiments as flat objects, one for each point, for tables and charts.
function value_words(value) {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function axes_words(axes, without = []) {
  return Object.entries(axes)
    .filter(([axis]) => !without.includes(axis))
    .map(([axis, value]) => axis.replaceAll('_', ' ') + ' ' + value_words(value))
    .join(', ');
}

// The data are in TF/s. The page shows GF/s, as the logbook does.
const thousands = (value) => (known(value) ? 1000 * value : null);

function row_of(experiment, index, point, result) {
  const config = result.config || {};
  const mode = result.path || (config.parallel_mode === 'ep' ? 'ep ' + (config.ep_path || '') : config.parallel_mode || '');
  return {
    experiment: experiment.title,
    name: experiment.name,
    index,
    axes: point.axes,
    label: result.apart ? `${point.label} (${result.apart})` : point.label,
    mode,
    state: point.state,
    baseline: point.is_baseline,
    path: result.path,
    pass: config.bench_pass,
    tokens: config.tokens,
    gflops: thousands(result.tflops),
    lo: thousands(result.tflops_lo),
    hi: thousands(result.tflops_hi),
    coverage: result.tflops_coverage,
    tokens_per_s: result.tokens_per_s,
    drop_adjusted: result.drop_adjusted_tokens_per_s,
    seconds: result.seconds,
    fraction: result.fraction,
    rounds: result.rounds,
    disturbed: result.disturbed,
    ratio: result.ratio ? result.ratio.value : null,
    ratio_lo: result.ratio ? result.ratio.lo : null,
    ratio_hi: result.ratio ? result.ratio.hi : null,
    ratio_coverage: result.ratio ? result.ratio.coverage : null,
    verdict: result.ratio ? result.ratio.verdict : '',
    words: result.ratio ? result.ratio.words : '',
    with: result.ratio ? result.ratio.with : '',
    published: result.published ? thousands(result.published.tflops) : null,
    published_ratio: result.published ? result.published.ratio : null,
    intensity: result.intensity,
    peak: thousands(result.peak_tflops),
    read_gbps: result.read_gbps,
    stages: result.stages,
    device_imbalance: result.device_imbalance,
    expert_imbalance: result.expert_imbalance,
    devices: result.layout ? result.layout.devices : null,
    check: result.check,
    load: result.load_average,
    predicted: result.prediction ? result.prediction.over_measured : null,
  };
}

function rows_of(experiment, index) {
  return experiment.points.flatMap((point) =>
    point.results.length > 0 ? point.results.map((result) => row_of(experiment, index, point, result))
                             : [row_of(experiment, index, point, {rounds: 0, disturbed: 0})]);
}
