// Tables whose rows are sorted by a click on the head of a column.
//   columns: [{head, of: row => value to sort by, show: row => text or node, number: right-aligned, title}]
function sortable_table(columns, rows, caption) {
  const body = element('tbody');
  const fill = (ordered) => body.replaceChildren(...ordered.map((row) => element('tr', {class: row.row_class || null},
    columns.map((column) => element('td', {class: column.number ? 'number' : null}, column.show(row))))));
  const heads = columns.map((column) => {
    const button = element('button', {type: 'button', title: column.title || 'Sort by ' + column.head}, column.head);
    return element('th', {scope: 'col', class: column.number ? 'number' : null, 'aria-sort': 'none'}, button);
  });
  heads.forEach((head, i) => head.firstChild.addEventListener('click', () => {
    const descending = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach((other) => other.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const sorted = [...rows].sort((a, b) => compare(columns[i].of(a), columns[i].of(b)));
    fill(descending ? sorted.reverse() : sorted);
  }));
  fill(rows);
  const table = element('table', {}, element('caption', {}, caption), element('thead', {}, element('tr', {}, heads)), body);
  return element('div', {class: 'scroll', tabindex: '0'}, table);
}

// Missing values come first.
function compare(a, b) {
  const absent = (value) => value === null || value === undefined || value === '';
  if (absent(a) || absent(b)) return Number(absent(b)) - Number(absent(a));
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', {numeric: true});
}

// Returns the wait matrix of a step: each line has a device that waits, the device it waits for, and their
// stages.
function wait_table(waits) {
  const word = (head, name) => ({head, of: (wait) => wait[name], show: (wait) => String(wait[name])});
  return sortable_table([
    {...word('device', 'device'), number: true}, word('waits in', 'stage'), {...word('for device', 'for'), number: true},
    word('which is in', 'busy_in'),
    {head: 'ms', of: (wait) => wait.wait_s, show: (wait) => (1e3 * wait.wait_s).toFixed(3), number: true},
  ], waits, 'Waits of devices for each other in the step of the median');
}

const verdict_classes = {'faster': 'good', 'slower': 'bad', 'failed': 'bad', 'timeout': 'bad', 'out_of_memory': 'bad', 'rank_lost': 'bad'};
const tag = (text) => (text ? element('span', {class: 'tag ' + (verdict_classes[text] || '')}, text.replaceAll('_', ' ')) : '');

function figure_columns(rows) {
  const any = (of) => rows.some((row) => known(of(row)));
  const number = (head, of, show, title) => ({head, of, show: (row) => show(of(row)), number: true, title});
  return [
    number('TF/s', (row) => row.tflops, figure, 'Median over rounds, by the FLOPs of the model'),
    {head: 'interval', of: (row) => row.lo, number: true, title: 'Of the median, with its coverage',
      show: (row) => (known(row.lo) ? figure(row.lo) + '\u2009–\u2009' + figure(row.hi) + ' (' + percent(row.coverage) + ')' : '–')},
    number('tokens/s', (row) => row.tokens_per_s, figure),
    any((row) => row.drop_adjusted) && number('drop-adjusted', (row) => row.drop_adjusted, figure, 'tokens/s times the share of the assignments that the capacity leaves'),
    number('time', (row) => row.seconds, duration, 'Median step'),
    any((row) => row.fraction) && number('of peak', (row) => row.fraction, percent, 'Of the FLOP/s measured on the same cores'),
    any((row) => row.ratio) && number('ratio', (row) => row.ratio, times, 'Throughput over that of the baseline: the median of the rounds\' own ratios, not the ratio of the medians'),
    any((row) => row.ratio) && {head: 'verdict', of: (row) => row.verdict,
      show: (row) => element('span', {title: row.words || null}, tag(row.verdict), row.words.includes('other way') ? ' the medians order the other way' : '')},
    any((row) => row.published) && number('published', (row) => row.published, figure, 'TF/s of the original on its machine'),
    any((row) => row.published_ratio) && number('published ratio', (row) => row.published_ratio, times),
    any((row) => row.predicted) && number('predicted / measured', (row) => row.predicted, times),
    {head: 'state', of: (row) => row.state, show: (row) => tag(row.baseline && row.state === 'done' ? 'baseline' : row.state)},
    number('rounds', (row) => row.rounds, (value) => value ?? '–'),
  ].filter(Boolean);
}

function results_table(experiment, rows) {
  const axes = [...new Set(experiment.points.flatMap((point) => Object.keys(point.axes)))];
  const axis_columns = axes.map((axis) => ({
    head: axis.replaceAll('_', ' '),
    of: (row) => row.axes[axis],
    show: (row) => (axis in row.axes ? value_words(row.axes[axis]) : '–'),
    number: rows.every((row) => typeof row.axes[axis] === 'number'),
  }));
  if (rows.some((row) => row.path)) axis_columns.push({head: 'path', of: (row) => row.path, show: (row) => row.path});
  rows.forEach((row) => { row.row_class = row.baseline ? 'baseline' : ''; });
  return sortable_table([...axis_columns, ...figure_columns(rows)], rows, 'Results');
}

function overview_table(experiments) {
  const rows = experiments.map(({experiment, rows}, i) => {
    const ratios = rows.map((row) => row.ratio).filter(known);
    return {
      title: experiment.title, i, done: experiment.points.filter((point) => point.state === 'done').length,
      points: experiment.points.length,
      best: ratios.length ? Math.max(...ratios) : null, worst: ratios.length ? Math.min(...ratios) : null,
      top: Math.max(...rows.map((row) => row.tflops || 0)) || null,
    };
  });
  const number = (head, of, show, title) => ({head, of, show: (row) => show(of(row)), number: true, title});
  return sortable_table([
    {head: 'experiment', of: (row) => row.title, show: (row) => element('a', {href: '#experiment-' + row.i}, row.title)},
    {head: 'points', of: (row) => row.done, number: true, show: (row) => row.done + '\u2009/\u2009' + row.points,
      title: 'Points done of those planned'},
    number('best TF/s', (row) => row.top, figure),
    number('lowest ratio', (row) => row.worst, times, 'Throughput over the baseline'),
    number('highest ratio', (row) => row.best, times, 'Throughput over the baseline'),
  ], rows, 'All experiments');
}
