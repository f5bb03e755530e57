// Replaces charts.js and draw.js if the build had no chart libraries.
function charts_section() {
  return element('p', {class: 'missing'}, 'Charts are missing: this moehill was built without npm, from which Vega-Lite comes. ' +
    'The tables are complete. Install npm and build again for charts.');
}
function draw_charts() {}
