// Tests the report in a browser: no error, no request to the network, charts are there, hostile text stays
// text; in light and dark mode and on a phone. Pages are compared by structure: what stands where, in which number and
// order, and that nothing is cut off. Further pages are made of the same data: with no experiment, with one, with
// 26, with a thousand points, and with one interval far wider than the others. Each is looked at in all views. The
// colours of verdicts and of series are measured as colour-blind eyes see them.
//   node report_test.mjs PAGE MODULES [FOLDER for screenshots]     exit status 77 if no browser can start
import {createRequire} from 'node:module';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {resolve} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import assert from 'node:assert';

const [page_file, modules, screenshots] = process.argv.slice(2);
const hostile = '</script><img src=x onerror=alert(1)>\'; DROP TABLE runs;--';
const views = [
  {name: 'light', colorScheme: 'light', viewport: {width: 1280, height: 900}},
  {name: 'dark', colorScheme: 'dark', viewport: {width: 1280, height: 900}},
  {name: 'phone', colorScheme: 'light', viewport: {width: 390, height: 844}},
];

// What eyes that lack one kind of cone see of linear RGB (Machado, Oliveira and Fernandes, 2009), and what others see.
const eyes = {
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
  all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
};

// Returns a colour in CIE Lab, in which equal distances look about equally different.
function lab(hex, eye) {
  const rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  const [r, g, b] = eye.map((row) => Math.min(1, Math.max(0, row.reduce((sum, factor, i) => sum + factor * rgb[i], 0))));
  const [x, y, z] = [(0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505, 0.2126 * r + 0.7152 * g + 0.0722 * b, (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089]
    .map((t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

// Colours that are 15 apart are told apart easily; the just noticeable difference is about 2.
function check_colours() {
  const source = (name) => readFileSync(fileURLToPath(new URL('page/' + name, import.meta.url)), 'utf8');
  const palettes = [...source('draw.js').matchAll(/\[('#[0-9a-f]{6}'(, )?)+\]/g)].map((found) => found[0].match(/#[0-9a-f]{6}/g));
  const verdicts = [...source('page.css').matchAll(/--(?:faster|slower|doubt|soft): (#[0-9a-f]{6})/g)].map((found) => found[1]);
  assert.deepEqual([palettes.map((palette) => palette.length), verdicts.length], [[8, 8], 8], 'colours of both grounds are not where they were');
  for (const colours of [...palettes, verdicts.slice(0, 4), verdicts.slice(4)]) {
    for (const [name, eye] of Object.entries(eyes)) {
      colours.forEach((a, i) => colours.slice(0, i).forEach((b) => {
        const apart = Math.hypot(...lab(a, eye).map((value, k) => value - lab(b, eye)[k]));
        assert(apart >= 15, `${a} and ${b} are ${apart.toFixed(1)} apart for ${name} eyes`);
      }));
    }
  }
}

async function start_browser() {
  const executable = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (!executable) return skip('no chromium on this machine');
  try {
    const {chromium} = createRequire(resolve(modules) + '/')('playwright-core');
    return await chromium.launch({executablePath: executable, args: ['--no-sandbox', '--disable-gpu']});
  } catch (error) {
    return skip('chromium does not start: ' + error.message);
  }
}

function skip(reason) {
  console.log('skipped: ' + reason);
  process.exit(77);
}

async function open(browser, view) {
  const page = await (await browser.newContext({colorScheme: view.colorScheme, viewport: view.viewport})).newPage();
  const complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => { complaints.push('dialog ' + dialog.message()); dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== view.url) complaints.push('request ' + request.url()); });
  await page.goto(view.url);
  await page.waitForFunction(() => document.documentElement.hasAttribute('data-charts'), null, {timeout: 60000})
    .catch(() => complaints.push('no charts drawn'));
  return {page, complaints};
}

async function check_charts(page) {
  const titles = await page.locator('figcaption b').allTextContents();
  for (const wanted of ['Ratios to the baseline', 'GF/s by top-k', 'Tokens/s by top-k', 'GF/s by width of an expert',
    'GF/s by number of experts', 'Stages', 'Roofline', 'Device imbalance', 'Error of the model',
    'Ratios here against those published'])
    assert(titles.includes(wanted), 'no chart ' + wanted);
  for (const chart of await page.locator('.chart').all())
    assert(await chart.locator('svg path[aria-roledescription], svg .mark-symbol path, svg .mark-rect path, svg .mark-line path').count() > 0, 'an empty chart');
}

async function check_text(page) {
  const waits = page.locator('details.waits').first();
  assert.equal(await waits.locator('tbody tr').count(), 2);
  assert((await waits.locator('tbody tr').first().textContent()).startsWith('0reduce1down'), 'no wait of device 0 for device 1');
  assert.equal((await page.locator('#experiment-0 > h3').textContent()).trim(), hostile);
  assert.equal(await page.locator('img').count(), 0);
  assert((await page.locator('.failure pre').first().textContent()).includes('<b>worst row</b>'));
}

// On a phone the page must not scroll sideways; and no table is cut off.
async function check_width(page) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert(scroll <= client, `the page is ${scroll} wide in a window of ${client}`);
  const cut = await page.evaluate(() => [...document.querySelectorAll('.scroll, td, td > div')]
    .filter((box) => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display !== 'inline').map((box) => box.outerHTML.slice(0, 120)));
  assert.deepEqual(cut, [], 'cut off');
}

async function check_sorting(page) {
  const table = page.locator('#experiment-0 > .scroll table');
  const column = async () => (await table.locator('tbody tr td:nth-child(3) > div').allTextContents()).map(Number);
  const head = table.getByRole('button', {name: /^GF.s/});
  await head.click();
  const rising = await column();
  assert.deepEqual(rising, [...rising].sort((a, b) => a - b));
  await head.focus();
  await page.keyboard.press('Enter');
  assert.deepEqual(await column(), [...rising].reverse());
}

// Returns what a reader sees, in order, without colours and places.
async function structure(page) {
  return page.evaluate(() => {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((found) => found.textContent.trim());
    return {
      parts: texts('h2'), total: texts('#answers .total'), effects: texts('.effects li').length,
      questions: document.querySelectorAll('#answers tbody tr').length, verdicts: texts('#answers td .tag'),
      charts: texts('figcaption b'), experiments: document.querySelectorAll('.experiment').length,
      marks: document.querySelectorAll('#chart-0 .mark-symbol.role-mark path').length,
      rows: [...document.querySelectorAll('.experiment > .scroll tbody')].map((body) => body.children.length),
      all: texts('.more:not([hidden])'), commands: document.querySelectorAll('.commands pre').length,
    };
  });
}

// The first screen answers: verdicts, disturbed runs and the largest effects are seen without scrolling.
async function check_first_screen(page, view) {
  const bottom = await page.locator('.effects').evaluate((list) => list.getBoundingClientRect().bottom);
  assert(bottom <= view.viewport.height, `the effects end at ${bottom}`);
  if (view.viewport.width > 760) {
    const verdict = await page.locator('#answers td .tag').first().evaluate((tag) => tag.getBoundingClientRect().bottom);
    assert(verdict <= view.viewport.height, `the first question with its verdict ends at ${verdict}`);
  }
  const words = await page.locator('#answers').textContent();
  assert(/Disturbed by other work: \d+ of \d+ \(\d+\s%\)/.test(words), 'no share of disturbed runs');
  assert(words.includes('1 of 3 points failed'), 'a failed point is not marked');
  const ticks = await page.locator('.chart svg .role-axis-label text').allTextContents();
  assert(ticks.every((tick) => !/e[+-]?\d/.test(tick)), 'a tick in powers: ' + ticks.join(' '));
  for (const panel of await page.locator('.experiment').all())
    assert((await panel.locator('.commands pre').textContent()).includes('moehill '), 'no command line');
}

// Writes a page whose data `change` has changed, and returns its address.
function changed_page(name, change) {
  const text = readFileSync(page_file, 'utf8'), mark = '<script type="application/json" id="data">';
  const from = text.indexOf(mark) + mark.length, to = text.indexOf('</script>', from);
  const data = JSON.parse(text.slice(from, to));
  change(data);
  const file = resolve(page_file) + '.' + name + '.html';
  writeFileSync(file, text.slice(0, from) + JSON.stringify(data).replaceAll('<', '\\u003c') + text.slice(to));
  return pathToFileURL(file).href;
}

const copies = (list, count) => Array.from({length: count}, (_, i) => ({...list[i % list.length], axes: {...list[i % list.length].axes, copy: i}, label: 'copy=' + i}));
const sizes = {
  none: (data) => { data.experiments = []; },
  one: (data) => { data.experiments = data.experiments.slice(0, 1); },
  many: (data) => { data.experiments = Array.from({length: 26}, (_, i) => ({...data.experiments[i % 5], name: 'experiment_' + i})); },
  thousand: (data) => { data.experiments = [{...data.experiments[0], points: copies(data.experiments[0].points, 1000)}]; },
  wide: (data) => {
    const points = data.experiments[1].points;
    Object.assign(points[1].results[0].ratio, {lo: 0.01, hi: 100, verdict: 'inconclusive'});
    Object.assign(points[2].results[0].ratio, {verdict: 'within noise'});
    points[3].state = 'pending';
    const curve = data.experiments.find((experiment) => experiment.name === 'width').points[1].results[0];
    curve.tflops_hi = 100 * curve.tflops;
  },
};
const size_checks = {
  none: async (seen, page) => {
    assert.equal(seen.experiments, 0);
    const words = await page.locator('main').textContent();
    for (const part of ['No run has been counted yet.', 'The database holds no experiment.', 'Nothing is measured yet.']) assert(words.includes(part), 'not said: ' + part);
  },
  one: async (seen, page) => {
    assert.equal(seen.experiments, 1); assert.equal(seen.marks, 4); assert.equal(seen.effects, 3);
    assert.match(await page.locator('header').textContent(), / in 1 experiment(?!s)/);
  },
  many: (seen) => { assert.equal(seen.experiments, 26); assert.equal(seen.questions, 26); assert.equal(seen.marks, 40); },
  thousand: (seen) => { assert.deepEqual(seen.rows, [40]); assert(seen.all.includes('Show all 1000 rows')); assert.equal(seen.marks, 40); },
  wide: async (seen, page) => {
    const marks = await page.locator('#chart-0 .mark-symbol.role-mark path').evaluateAll((paths) => paths.map((path) => ({shape: path.getAttribute('d').replace(/[-\d.,]+/g, '#'), x: path.getBoundingClientRect().x})));
    const drawn = await page.locator('#chart-0 svg').boundingBox();
    assert.equal(marks.length, seen_marks + 2, 'no arrow at both ends of a cut interval');
    const places = marks.map((mark) => mark.x);
    assert(Math.max(...places) - Math.min(...places) > 0.3 * drawn.width, 'one interval flattens the others');
    const shape_of = async (verdict) => page.locator(`#chart-0 path[aria-label*="verdict: ${verdict}"]`).first().getAttribute('d');
    assert.notEqual(await shape_of('inconclusive'), await shape_of('within noise'));
    assert((await page.locator('#answers').textContent()).includes('unfinished: 1 of 4 points left'), 'unfinished is not marked');
    const curve = page.locator('figure', {hasText: 'GF/s by width of an expert'}).first();
    assert((await curve.locator('figcaption').textContent()).includes('An arrow marks'), 'a cut interval of a curve has no mark');
    const heights = await curve.locator('.chart svg').evaluate((svg) => [...svg.querySelectorAll('.mark-symbol.role-mark path')]
      .map((path) => (path.getBoundingClientRect().y - svg.getBoundingClientRect().y) / svg.getBoundingClientRect().height).sort((a, b) => a - b));
    assert.equal(heights.length, 5, 'four points and an arrow');
    assert(heights[1] < 0.5, 'one interval flattens the others of a curve');
  },
};

const url = pathToFileURL(resolve(page_file)).href;
check_colours();
const browser = await start_browser();
const seen = [];
for (const view of views) {
  const {page, complaints} = await open(browser, {...view, url});
  if (screenshots) await page.screenshot({path: `${screenshots}/${view.name}.png`, fullPage: true});
  assert.deepEqual(complaints, [], view.name);
  seen.push(await structure(page));
  assert.deepEqual(seen.at(-1), seen[0], view.name + ' shows something else than ' + views[0].name);
  await check_first_screen(page, view);
  await check_charts(page);
  await check_text(page);
  await check_width(page);
  await check_sorting(page);
}
assert.deepEqual(seen[0].parts, ['Answers', 'Charts', 'Experiments']);
const seen_marks = seen[0].marks;
for (const name of Object.keys(sizes)) {
  const address = changed_page(name, sizes[name]);
  let first = null;
  for (const view of views) {
    const {page, complaints} = await open(browser, {...view, url: address});
    if (screenshots) await page.screenshot({path: `${screenshots}/${name}-${view.name}.png`, fullPage: true});
    assert.deepEqual(complaints, [], `${name}, ${view.name}`);
    const found = await structure(page);
    first ??= found;
    assert.deepEqual(found, first, `${name}: ${view.name} shows something else than ${views[0].name}`);
    if (view === views[0]) await size_checks[name](found, page);
    await check_width(page);
    await page.context().close();
  }
}
await browser.close();
console.log('the report shows in ' + views.map((view) => view.name).join(', ') + ', and with ' + Object.keys(sizes).join(', '));
