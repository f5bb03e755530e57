// Builds the page from the data in it: head, overview, charts, and a section for each experiment.
const data = JSON.parse(document.getElementById('data').textContent);
const experiments = data.experiments.map((experiment) => ({experiment, rows: rows_of(experiment)}));
const all_rows = experiments.flatMap(({rows}) => rows);

function head() {
  const machine = data.machine || {};
  const points = data.experiments.flatMap((experiment) => experiment.points);
  const done = points.filter((point) => point.state === 'done').length;
  const facts = [
    machine.cpu && ['machine', machine.cpu + (machine.cores ? ', ' + machine.cores + ' cores' : '')],
    machine.build && ['build', machine.build],
    machine.compiler && ['compiler', machine.compiler],
    ['points', done + ' done of ' + points.length + ' in ' + data.experiments.length + ' experiments'],
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
    element('h3', {}, experiment.title),
    element('dl', {class: 'story'},
      fact('Hypothesis', experiment.hypothesis && `${experiment.id}, ${experiment.state}: ${experiment.hypothesis}`),
      fact('Expected', experiment.expect.length ? experiment.expect.map((line) => element('code', {}, line)) : ''),
      fact('Sizes', experiment.sizing),
      fact('Replays', experiment.section),
      fact('Defect of the original', experiment.defect),
      fact('Notes', experiment.notes.map((note) => element('p', {}, note.text))),
      fact('Waits', waits(rows)),
      fact('Next', experiment.next_action)),
    results_table(experiment, rows), failures(experiment));
}

function show() {
  document.getElementById('report').replaceChildren(
    head(),
    element('nav', {}, element('a', {href: '#overview'}, 'Overview'), element('a', {href: '#charts'}, 'Charts'),
      element('a', {href: '#experiments'}, 'Experiments')),
    element('section', {id: 'overview'}, element('h2', {}, 'Overview'),
      data.replayed ? element('p', {}, 'Of all ' + data.replayed + '.') : null,
      data.experiments.length ? overview_table(experiments) : element('p', {}, 'The database holds no experiment.')),
    element('section', {id: 'charts'}, element('h2', {}, 'Charts'), charts_section()),
    element('section', {id: 'experiments'}, element('h2', {}, 'Experiments'), experiments.map(experiment_section)));
  draw_charts();
}

show();
