// Tables show this many rows until the reader asks for all.
const first_rows = 40;

// Tables whose rows are sorted by a click on the head of a column.
//   columns: [{head, of: row => value to sort by, show: row => text or node, number: right-aligned, wide: may wrap, title}]
// On a narrow screen each row becomes a card (page.css), whose cells repeat the head of their column. The roles keep it
// a table for a screen reader.
function sortable_table(columns, rows, caption) {
  const body = element('tbody', {role: 'rowgroup'});
  const more = element('button', {type: 'button', class: 'more'}, `Show all ${rows.length} rows`);
  let shown = first_rows, ordered = rows;
  const fill = () => {
    body.replaceChildren(...ordered.slice(0, shown).map((row) => element('tr', {role: 'row', class: row.row_class || null},
      columns.map((column) => element('td', {role: 'cell', 'data-head': column.head, class: [column.number && 'number', column.wide && 'words'].filter(Boolean).join(' ') || null},
        element('div', {}, column.show(row)))))));
    more.hidden = shown >= rows.length;
  };
  more.addEventListener('click', () => { shown = rows.length; fill(); });
  const heads = columns.map((column) => {
    const button = element('button', {type: 'button', title: column.title || 'Sort by ' + column.head}, column.head);
    return element('th', {scope: 'col', role: 'columnheader', class: column.number ? 'number' : null, 'aria-sort': 'none'}, button);
  });
  heads.forEach((head, i) => head.firstChild.addEventListener('click', () => {
    const descending = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach((other) => other.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const sorted = [...rows].sort((a, b) => compare(columns[i].of(a), columns[i].of(b)));
    ordered = descending ? sorted.reverse() : sorted;
    fill();
  }));
  fill();
  const table = element('table', {role: 'table'}, element('caption', {}, caption), element('thead', {role: 'rowgroup'}, element('tr', {role: 'row'}, heads)), body);
  return element('div', {class: 'scroll', role: 'region', 'aria-label': caption, tabindex: '0'}, table, more);
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

const verdict_classes = {'faster': 'good', 'slower': 'bad', 'inconclusive': 'open', 'cannot tell': 'open', 'planned': 'open', 'pending': 'open', 'running': 'open', 'failed': 'bad', 'timeout': 'bad', 'out_of_memory': 'bad', 'rank_lost': 'bad'};
const tag = (text) => (text ? element('span', {class: 'tag ' + (verdict_classes[text] || '')}, text.replaceAll('_', ' ')) : '');

function figure_columns(rows) {
  const any = (of) => rows.some((row) => known(of(row)));
  const number = (head, of, show, title) => ({head, of, show: (row) => show(of(row)), number: true, title});
  return [
    number('GF/s', (row) => row.gflops, figure, 'Median over rounds, by the FLOPs of the model'),
    {head: 'interval', of: (row) => row.lo, number: true, title: 'Of the median, with its coverage',
      show: (row) => (known(row.lo) ? figure(row.lo) + '\u2009–\u2009' + figure(row.hi) + ' (' + percent(row.coverage) + ')' : '–')},
    number('tokens/s', (row) => row.tokens_per_s, figure),
    any((row) => row.drop_adjusted) && number('drop-adjusted', (row) => row.drop_adjusted, figure, 'tokens/s times the share of the assignments that the capacity leaves'),
    number('time', (row) => row.seconds, duration, 'Median step'),
    any((row) => row.fraction) && number('of peak', (row) => row.fraction, percent, 'Of the FLOP/s measured on the same cores'),
    any((row) => row.ratio) && number('ratio', (row) => row.ratio, times, 'Throughput over that of the baseline: the median of the rounds\' own ratios, not the ratio of the medians'),
    any((row) => row.ratio) && {head: 'verdict', of: (row) => row.verdict,
      show: (row) => element('span', {title: row.words || null}, tag(row.verdict), row.words.includes('other way') ? ' the medians order the other way' : '')},
    any((row) => row.published) && number('published GF/s', (row) => row.published, figure, 'GF/s of the original on its machine'),
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
    wide: rows.some((row) => value_words(row.axes[axis] ?? '').length > 14),
  }));
  if (rows.some((row) => row.path)) axis_columns.push({head: 'path', of: (row) => row.path, show: (row) => row.path});
  rows.forEach((row) => { row.row_class = row.baseline ? 'baseline' : ''; });
  return sortable_table([...axis_columns, ...figure_columns(rows)], rows, 'Results');
}
