// Tells, for each picture and file of the page, what arrived and where it came from.
'use strict';

// What browsers send for an <img>. The answer varies by it, so asking for the same gives the answer that the
// picture got, straight from the browser's own cache.
const IMAGE_ACCEPT = navigator.userAgent.includes('Firefox')
  ? 'image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5'
  : 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8';

// Why a node sends the original for now.
const INTERIM = ['making', 'queue-full', 'queue-timeout'];

const TIERS = { mem: 'memory', memory: 'memory', disk: 'disk' };

function timingsOf(url) {
  return performance.getEntriesByName(new URL(url, location.href).href, 'resource');
}

// How to ask again. What this page load brought is looked up where the browser keeps it; what was there from
// an earlier load is validated, so that the node says what it has now.
function cacheModeFor(url) {
  const isPage = new URL(url, location.href).href === location.href;
  const timing = isPage ? performance.getEntriesByType('navigation')[0] : timingsOf(url).at(-1);
  return timing && timing.transferSize > 0 ? 'force-cache' : 'no-cache';
}

async function ask(url, accept, cache) {
  const response = await fetch(url, { headers: { accept }, cache });
  if (!response.ok) {
    throw new Error(`answered ${response.status}`);
  }
  const body = await response.blob();
  const timings = timingsOf(url);
  const timing = timings.at(-1);
  return {
    type: (response.headers.get('content-type') || '').split(';')[0],
    coding: response.headers.get('content-encoding') || '',
    cacheStatus: response.headers.get('cache-status') || '',
    bytes: body.size,
    sentBytes: (timing && timing.encodedBodySize) || body.size,
    protocol: (timing && timing.nextHopProtocol) || '',
    // Browsers keep nothing that came under a certificate they do not trust. Then this was a second request,
    // and what the page itself was sent may have been something else.
    sentBefore: (timings.length > 1 && timing.transferSize > 0 && timings[0].encodedBodySize) || 0,
  };
}

// RFC 9211: one member a cache, the nearest to us last.
function outcomeOf(cacheStatus) {
  if (!cacheStatus) {
    return { word: 'straight from the origin', state: 'miss' };
  }
  const parts = cacheStatus.split(',').at(-1).split(';').map((part) => part.trim());
  const detail = (parts.find((part) => part.startsWith('detail=')) || '').slice(7).replaceAll('"', '');
  if (parts.includes('hit')) {
    const tier = TIERS[detail.split(/[\s,;:]/)[0]];
    const word = tier ? `hit (${tier})` : 'hit';
    // The node sends what it has while it makes what this browser likes better.
    const isInterim = parts.some((part) => INTERIM.includes(part.replaceAll('"', '')));
    return isInterim
      ? { word: `${word}, a smaller one is being made`, state: 'interim' }
      : { word, state: 'hit' };
  }
  const why = (parts.find((part) => part.startsWith('fwd=')) || '').slice(4);
  return { word: why ? `miss (${why})` : 'miss', state: 'miss' };
}

function sizeText(bytes) {
  if (bytes < 1000) {
    return `${bytes} B`;
  }
  if (bytes < 1e6) {
    return `${Math.round(bytes / 1e3)} KB`;
  }
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function formatText(type) {
  return (type.split('/')[1] || 'unknown').replace('svg+xml', 'svg').toUpperCase();
}

function outcomeElement(outcome) {
  const element = document.createElement('b');
  element.className = outcome.state === 'hit' ? 'hit' : 'miss';
  element.textContent = outcome.word;
  return element;
}

async function loaded(image) {
  if (!image.complete) {
    await new Promise((done) => {
      image.addEventListener('load', done, { once: true });
      image.addEventListener('error', done, { once: true });
    });
  }
  if (image.naturalWidth === 0) {
    throw new Error('the picture did not decode');
  }
}

async function describePicture(figure, cache) {
  const line = figure.querySelector('.arrived');
  const image = figure.querySelector('img');
  try {
    await loaded(image);
    const url = image.currentSrc;
    const answer = await ask(url, IMAGE_ACCEPT, cache || cacheModeFor(url));
    const outcome = outcomeOf(answer.cacheStatus);
    const original = Number(figure.dataset.bytes);
    const before = cache ? 0 : answer.sentBefore;
    if (before && before !== answer.bytes) {
      outcome.state = 'interim';
      outcome.word = `${outcome.word}; the ${sizeText(before)} on screen came first`;
    }
    const saved = answer.bytes < original ? ` instead of ${sizeText(original)}` : '';
    const size = `${image.naturalWidth} × ${image.naturalHeight}`;
    line.replaceChildren(
      `${formatText(answer.type)} · ${sizeText(answer.bytes)}${saved} · `,
      outcomeElement(outcome),
      answer.protocol ? ` · ${answer.protocol}` : '',
    );
    line.title = `${answer.cacheStatus}\n${new URL(url).pathname}${new URL(url).search}`;
    figure.dataset.format = formatText(answer.type).toLowerCase();
    figure.dataset.outcome = outcome.state;
    figure.dataset.shown = size;
    figure.dataset.arrived = String(answer.bytes);
    return { bytes: answer.bytes, original, isHit: outcome.state === 'hit' };
  } catch (error) {
    line.textContent = `did not arrive: ${error.message}`;
    figure.dataset.outcome = 'error';
    return { bytes: 0, original: 0, isHit: false };
  }
}

async function describeFile(row, cache) {
  const url = row.dataset.asset;
  const cells = row.querySelectorAll('td');
  try {
    const answer = await ask(url, '*/*', cache || cacheModeFor(url));
    const outcome = outcomeOf(answer.cacheStatus);
    cells[0].textContent = answer.type;
    cells[1].textContent = sizeText(answer.bytes);
    cells[2].textContent = answer.coding
      ? `${answer.coding}, ${sizeText(answer.sentBytes)}`
      : 'as it is';
    cells[3].replaceChildren(outcomeElement(outcome));
    row.dataset.outcome = outcome.state;
    row.dataset.coding = answer.coding || 'identity';
    row.dataset.arrived = String(answer.sentBytes);
    return outcome.state === 'hit';
  } catch (error) {
    cells[3].textContent = error.message;
    row.dataset.outcome = 'error';
    return false;
  }
}

async function describeAll(cache) {
  const figures = [...document.querySelectorAll('figure[data-photo]')];
  const rows = [...document.querySelectorAll('tr[data-asset]')];
  const [pictures, files] = await Promise.all([
    Promise.all(figures.map((figure) => describePicture(figure, cache))),
    Promise.all(rows.map((row) => describeFile(row, cache))),
  ]);
  const sum = (key) => pictures.reduce((total, picture) => total + picture[key], 0);
  const hits = pictures.filter((picture) => picture.isHit).length + files.filter(Boolean).length;
  const all = pictures.length + files.length;
  const less = sum('original') ? Math.round(100 - (100 * sum('bytes')) / sum('original')) : 0;
  const strong = document.createElement('strong');
  strong.textContent = `${hits} of ${all} from the cache`;
  document.querySelector('#summary').replaceChildren(
    strong,
    ` · pictures ${sizeText(sum('bytes'))} instead of ${sizeText(sum('original'))} (${less} % less)`,
  );
  document.body.dataset.hits = String(hits);
  document.body.dataset.all = String(all);
}

async function start() {
  const again = document.querySelector('#again');
  again.hidden = false;
  again.addEventListener('click', async () => {
    again.disabled = true;
    await describeAll('reload');
    again.disabled = false;
  });
  await describeAll();
}

start();
