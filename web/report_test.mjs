// Tests the report in a browser: no error, no request to the network, charts are there, hostile text stays
// text; in light and dark mode and on a phone.
//   node report_test.mjs PAGE MODULES [FOLDER for screenshots]     exit status 77 if no browser can start
import {createRequire} from 'node:module';
import {existsSync} from 'node:fs';
import {resolve} from 'node:path';
import {pathToFileURL} from 'node:url';
import assert from 'node:assert';

const [page_file, modules, screenshots] = process.argv.slice(2);
const hostile = '</script><img src=x onerror=alert(1)>\'; DROP TABLE runs;--';
const views = [
  {name: 'light', colorScheme: 'light', viewport: {width: 1280, height: 900}},
  {name: 'dark', colorScheme: 'dark', viewport: {width: 1280, height: 900}},
  {name: 'phone', colorScheme: 'light', viewport: {width: 390, height: 844}},
];

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
  const page = await (await browser.newContext(view)).newPage();
  const complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => { complaints.push('dialog ' + dialog.message()); dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== url) complaints.push('request ' + request.url()); });
  await page.goto(url);
  await page.waitForFunction(() => document.documentElement.hasAttribute('data-charts'), null, {timeout: 60000})
    .catch(() => complaints.push('no charts drawn'));
  return {page, complaints};
}

async function check_charts(page) {
  const titles = await page.locator('figcaption b').allTextContents();
  for (const wanted of ['Headline ratios', 'TF/s by top-k', 'Tokens/s by top-k', 'TF/s by width of an expert',
    'TF/s by number of experts', 'Stages', 'Roofline', 'Device imbalance', 'Error of the model',
    'Ratios here against those published'])
    assert(titles.includes(wanted), 'no chart ' + wanted);
  for (const chart of await page.locator('.chart').all())
    assert(await chart.locator('svg path[aria-roledescription], svg .mark-symbol path, svg .mark-rect path, svg .mark-line path').count() > 0, 'an empty chart');
}

async function check_text(page) {
  const waits = page.locator('details.waits').first();
  assert.equal(await waits.locator('tbody tr').count(), 2);
  assert((await waits.locator('tbody tr').first().textContent()).startsWith('0reduce1down'), 'no wait of device 0 for device 1');
  assert.equal(await page.locator('h3').first().textContent(), hostile);
  assert.equal(await page.locator('img').count(), 0);
  assert((await page.locator('pre').first().textContent()).includes('<b>worst row</b>'));
}

// On a phone the page must not scroll sideways; wide tables scroll on their own.
async function check_width(page) {
  const [scroll, client] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert(scroll <= client, `the page is ${scroll} wide in a window of ${client}`);
}

async function check_sorting(page) {
  const table = page.locator('#experiment-0 > .scroll table');
  const column = async () => (await table.locator('tbody tr td:nth-child(3)').allTextContents()).map(Number);
  const head = table.getByRole('button', {name: 'TF/s'});
  await head.click();
  const rising = await column();
  assert.deepEqual(rising, [...rising].sort((a, b) => a - b));
  await head.click();
  assert.deepEqual(await column(), [...rising].reverse());
}

const url = pathToFileURL(resolve(page_file)).href;
const browser = await start_browser();
for (const view of views) {
  const {page, complaints} = await open(browser, view);
  if (screenshots) await page.screenshot({path: `${screenshots}/${view.name}.png`, fullPage: true});
  assert.deepEqual(complaints, [], view.name);
  await check_charts(page);
  await check_text(page);
  await check_width(page);
  await check_sorting(page);
}
await browser.close();
console.log('the report shows in ' + views.map((view) => view.name).join(', '));
