// The first screen: what was asked, what came out, and the largest effects. Details are further down.
const verdict_marks = {'met': '✓', 'not met': '✗', 'undecided': '?'};
const count_words = (count, word) => count + ' ' + word + (count === 1 ? '' : 's');
const is_failed = (point) => ['failed', 'timeout', 'out_of_memory', 'rank_lost'].includes(point.state);

// Returns "2 of 20 (10 %)" for the rounds that other work disturbed.
function disturbed_words(rows) {
  const rounds = rows.reduce((sum, row) => sum + row.rounds, 0), disturbed = rows.reduce((sum, row) => sum + row.disturbed, 0);
  return rounds === 0 ? '–' : disturbed + ' of ' + rounds + ' (' + percent(disturbed / rounds) + ')';
}

// Returns a mark that says how much of an experiment is missing; null if nothing is.
function unfinished(experiment) {
  const failed = experiment.points.filter(is_failed).length;
  const left = experiment.points.filter((point) => point.state !== 'done').length - failed;
  const words = [left && `unfinished: ${left} of ${count_words(experiment.points.length, 'point')} left`,
    failed && `${failed} of ${count_words(experiment.points.length, 'point')} failed`].filter(Boolean);
  return words.length ? element('span', {class: 'tag ' + (failed ? 'bad' : 'open')}, words.join(', ')) : null;
}

// An expectation that was written after the first result is judged, but not counted.
const late_words = (expectation) => (expectation.fixed ? null : element('span', {class: 'missing'}, ' (written after the first result)'));

function verdict_tag(expectation) {
  return element('span', {class: 'tag ' + {'met': 'good', 'not met': 'bad', 'undecided': 'open'}[expectation.verdict]},
    verdict_marks[expectation.verdict] + ' ' + expectation.verdict);
}

// Returns the three compared points that are farthest from their baseline. Effects within the noise do not count.
function largest_effects() {
  const found = all_rows.filter((row) => known(row.ratio) && row.ratio > 0 && ['faster', 'slower'].includes(row.verdict))
    .sort((a, b) => Math.abs(Math.log(b.ratio)) - Math.abs(Math.log(a.ratio))).slice(0, 3);
  if (found.length === 0) return element('p', {class: 'missing'}, 'No point differs from its baseline beyond the noise.');
  return element('ol', {class: 'effects'}, found.map((row) => element('li', {},
    element('b', {class: row.verdict === 'faster' ? 'faster' : 'slower'}, times(row.ratio) + ' as fast'), ' ',
    element('a', {href: '#experiment-' + row.index}, row.name), `: ${row.label} ${row.path || ''}`, element('span', {class: 'missing'}, ' against ' + row.with),
    known(row.ratio_lo) ? element('span', {class: 'missing'}, ` [${times(row.ratio_lo)} to ${times(row.ratio_hi)}]`) : null)));
}

// Returns one line for each expectation, with the ratios it was judged by behind it.
function expectation_lines(experiment) {
  return experiment.expectations.map((expectation) => element('details', {class: 'expectation'},
    element('summary', {}, verdict_tag(expectation), ' ', element('code', {}, expectation.text), late_words(expectation)),
    expectation.pairs.length === 0 ? element('p', {}, 'No two points with results are named by it.') : null,
    expectation.pairs.map((pair) => element('p', {}, `Throughput of ${pair.over} over ${pair.under}: ${figure(pair.value)}` +
      (known(pair.lo) ? ` [${figure(pair.lo)} to ${figure(pair.hi)}]` : ', without an interval')))));
}

function answers_table() {
  return sortable_table([
    {head: 'experiment', of: ({experiment}) => experiment.name, show: ({experiment}) => element('a', {href: '#experiment-' + experiments.findIndex((other) => other.experiment === experiment)}, experiment.name)},
    {head: 'question', wide: true, of: ({experiment}) => experiment.hypothesis || experiment.title, show: ({experiment}) => experiment.hypothesis || experiment.title},
    {head: 'expectations', wide: true, of: ({experiment}) => experiment.expectations.map((one) => one.verdict).sort().join(),
      show: ({experiment}) => element('div', {class: 'verdicts'}, unfinished(experiment), experiment.expectations.length
        ? experiment.expectations.map((one) => element('div', {}, verdict_tag(one), ' ', element('code', {}, one.text), late_words(one))) : 'none was fixed')},
    {head: 'disturbed runs', of: ({rows}) => rows.reduce((sum, row) => sum + row.disturbed, 0), number: true, show: ({rows}) => disturbed_words(rows)},
  ], experiments, 'Questions and answers');
}

function answers_section() {
  const expectations = data.experiments.flatMap((experiment) => experiment.expectations).filter((one) => one.fixed);
  const count = (verdict) => expectations.filter((one) => one.verdict === verdict).length;
  const open = data.experiments.filter((experiment) => experiment.points.some((point) => point.state !== 'done')).length;
  const measured = all_rows.some((row) => row.rounds > 0);
  return element('section', {id: 'answers'}, element('h2', {}, 'Answers'),
    element('p', {class: 'total'}, `Of ${count_words(expectations.length, 'expectation')}: `,
      Object.keys(verdict_marks).flatMap((verdict) => [verdict_tag({verdict}), ' ' + count(verdict) + ' '])),
    element('p', {}, measured ? `Disturbed by other work: ${disturbed_words(all_rows)} of the runs counted. ` : 'No run has been counted yet. ',
      open ? element('span', {class: 'tag open'}, count_words(open, 'experiment') + ' not complete') : measured ? 'All points are done.' : null),
    element('h3', {}, 'Largest effects'), largest_effects(),
    data.experiments.length ? answers_table() : element('p', {}, 'The database holds no experiment.'));
}
