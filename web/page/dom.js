// All elements of the page are made here. Every text enters through textContent, so that text from a database
// is never taken for HTML.
//
//   element('p', {class: 'missing'}, 'No results.');   // <p class="missing">No results.</p>
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    made.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return made;
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

// Returns a number with three significant digits and thousands in groups, separated by thin spaces that do
// not break.
function figure(value, digits = 3) {
  if (!known(value)) return '–';
  const magnitude = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.max(0, digits - 1 - magnitude);
  return value.toFixed(Math.min(decimals, 8)).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, '\u202f');
}

const percent = (value) => (known(value) ? (100 * value).toFixed(0) + '\u202f%' : '–');

function duration(seconds) {
  if (!known(seconds)) return '–';
  if (seconds < 1e-3) return figure(seconds * 1e6) + '\u202fµs';
  return seconds < 1 ? figure(seconds * 1e3) + '\u202fms' : figure(seconds) + '\u202fs';
}

const times = (value) => (known(value) ? value.toFixed(value < 10 ? 2 : 1) + '×' : '–');
