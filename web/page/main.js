// Builds the page from the data in it: head, answers, charts, and a section for each experiment.
const data = JSON.parse(document.getElementById('data').textContent);
const experiments = data.experiments.map((experiment, i) => ({experiment, rows: rows_of(experiment, i)}));
const all_rows = experiments.flatMap(({rows}) => rows);

function head() {
  const machine = data.machine || {};
  const points = data.experiments.flatMap((experiment) => experiment.points);
  const done = points.filter((point) => point.state === 'done').length;
  const days = data.experiments.map((experiment) => experiment.begun_utc.slice(0, 10)).sort();
  const loads = all_rows.map((row) => row.load).filter(known);
  const machines = [...new Set(data.experiments.map((experiment) => experiment.machine).filter(Boolean))];
  const facts = [
    machine.cpu && ['machine', machine.cpu + (machine.cores ? ', ' + count_words(machine.cores, 'core') : '') + (machines.length > 1 ? ` and ${machines.length - 1} more` : '')],
    machine.build && ['build', machine.build],
    machine.compiler && ['compiler', machine.compiler],
    days.length && ['measured', days[0] + (days.at(-1) === days[0] ? '' : ' to ' + days.at(-1)) + ' (UTC)'],
    loads.length && ['load at the start', [...new Set([Math.min(...loads), Math.max(...loads)])].map((load) => load.toFixed(1)).join(' to ')],
    ['points', done + ' done of ' + points.length + ' in ' + count_words(data.experiments.length, 'experiment')],
    known(data.noise_floor) && ['noise of this machine', (100 * data.noise_floor).toFixed(1) + '\u202f%'],
  ].filter(Boolean);
  return element('header', {}, element('h1', {}, 'moehill report'),
    element('dl', {class: 'facts'}, facts.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value)))));
}

function fact(name, value, kind) {
  return value && value.length > 0 ? [element('dt', {}, name), element('dd', {class: kind || null}, value)] : [];
}

function failures(experiment) {
  return experiment.points.filter((point) => point.output_tail).map((point) => element('details', {class: 'failure'},
    element('summary', {}, point.label + ': ' + point.state.replaceAll('_', ' ')), element('pre', {}, point.output_tail)));
}

// Returns, for the points with timed stages, a sentence on which device was waited for, with the matrix
// behind it.
function waits(rows) {
  return rows.filter((row) => row.stages && row.stages.waited_for).flatMap((row) => [
    element('p', {}, row.label + ' ' + row.mode + ': ' + row.stages.waited_for),
    element('details', {class: 'waits'}, element('summary', {}, 'who waited for whom'), wait_table(row.stages.waits || [])),
  ]);
}

function experiment_section({experiment, rows}, i) {
  return element('section', {id: 'experiment-' + i, class: 'experiment'},
    element('h3', {}, experiment.title, ' ', unfinished(experiment)),
    element('dl', {class: 'story'},
      fact('Hypothesis', experiment.hypothesis && `${experiment.id}, ${experiment.state}: ${experiment.hypothesis}`),
      fact('Expected', expectation_lines(experiment)),
      fact('Measured', `${experiment.begun_utc}${experiment.machine ? ', on ' + experiment.machine : ''}; disturbed runs: ${disturbed_words(rows)}`),
      fact('Sizes', experiment.sizing),
      fact('Replays', experiment.section),
      fact('Defect of the original', experiment.defect),
      fact('Notes', experiment.notes.map((note) => element('p', {}, note.text))),
      fact('Waits', waits(rows)),
      fact('Next', experiment.next_action)),
    results_table(experiment, rows), failures(experiment),
    element('details', {class: 'commands'}, element('summary', {}, 'Command line of each point'),
      element('pre', {}, experiment.points.map((point) => point.repro).join('\n'))));
}

function show() {
  document.getElementById('report').replaceChildren(
    head(),
    element('nav', {}, element('a', {href: '#answers'}, 'Answers'), element('a', {href: '#charts'}, 'Charts'),
      element('a', {href: '#experiments'}, 'Experiments')),
    answers_section(),
    element('section', {id: 'charts'}, element('h2', {}, 'Charts'),
      data.replayed ? element('p', {}, 'Of all ' + data.replayed + '.') : null, charts_section()),
    element('section', {id: 'experiments'}, element('h2', {}, 'Experiments'), experiments.map(experiment_section)));
  draw_charts();
}

show();
