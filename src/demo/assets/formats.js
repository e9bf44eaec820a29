// One photograph in every form: asks the node for each, shows it, and tells what came.
'use strict';

// As in app.js: what browsers send for an <img>.
const IMAGE_ACCEPT = navigator.userAgent.includes('Firefox')
  ? 'image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5'
  : 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8';

// Why a node sends something else for now.
const INTERIM = ['making', 'queue-full', 'queue-timeout', 'timeout', 'busy'];

// Then it is asked again, so often and after so long.
const TURNS = 20;
const PAUSE_MILLISECONDS = 1500;

const ORIGINALS = {
  lake: 1431262,
  dunes: 940323,
  ocean: 629832,
  forest: 604486,
  aurora: 644672,
  canyon: 504546,
  daisy: 175135,
};

// What each query is expected to give: the type, or null where the browser's Accept decides.
const FORMS = {
  formats: [
    ['AVIF', 'width=640&format=avif', 'image/avif'],
    ['WebP', 'width=640&format=webp', 'image/webp'],
    ['JPEG', 'width=640&format=jpeg', 'image/jpeg'],
    ['JPEG in passes', 'width=640&format=pjpg', 'image/jpeg'],
    ['PNG', 'width=640&format=png', 'image/png'],
    ['GIF', 'width=640&format=gif', 'image/gif'],
  ],
  widths: [160, 320, 640, 960, 1280, 1920].map((width) => [`${width} pixels`, `width=${width}`, null]),
  fits: [
    ['contain', 'width=480&height=480&fit=contain', null],
    ['cover', 'width=480&height=480&fit=cover', null],
    ['cover, gravity smart', 'width=480&height=480&fit=cover&gravity=smart', null],
    ['cover, gravity left', 'width=480&height=480&fit=cover&gravity=left', null],
    ['pad', 'width=480&height=480&fit=pad&background=c8501e', null],
    ['fill', 'width=480&height=480&fit=fill', null],
  ],
  qualities: [10, 40, 70, 95, 'auto'].map((quality) => [
    `quality ${quality}`,
    `width=640&quality=${quality}&format=webp`,
    'image/webp',
  ]),
  effects: [
    ['blur', 'width=480&blur=12', null],
    ['sharpen', 'width=480&sharpen=2', null],
    ['brightness and contrast', 'width=480&brightness=1.2&contrast=1.2', null],
    ['saturation 0', 'width=480&saturation=0', null],
    ['rotate 90', 'width=480&rotate=90', null],
    ['flip h', 'width=480&flip=h', null],
  ],
};

function sizeText(bytes) {
  if (bytes < 1000) {
    return `${bytes} B`;
  }
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function stateOf(cacheStatus) {
  const last = (cacheStatus || '').split(',').at(-1);
  if (INTERIM.some((word) => last.includes(word))) {
    return ['being made', 'interim'];
  }
  const parts = last.split(';').map((part) => part.trim());
  return parts.includes('hit') ? ['hit', 'hit'] : ['miss', 'miss'];
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.replaceChildren(...children);
  return made;
}

function figureOf(title, query) {
  const image = element('img', '');
  image.alt = title;
  const arrived = element('span', 'arrived', '…');
  const caption = element(
    'figcaption',
    '',
    element('strong', '', title),
    arrived,
    element('span', '', element('code', '', `?${query}`)),
  );
  const figure = element('figure', '', image, caption);
  figure.dataset.query = query;
  return { figure, image, arrived };
}

// One request for each form: what is measured is what is shown.
async function fill({ figure, image, arrived }, photo, [, query, type], cache) {
  figure.dataset.state = 'waiting';
  try {
    const response = await fetch(`/photos/${photo}.jpg?${query}`, {
      headers: { accept: type || IMAGE_ACCEPT },
      cache,
    });
    if (response.status === 400) {
      arrived.textContent = 'not offered by this node';
      arrived.title = (await response.text()).trim();
      image.hidden = true;
      figure.dataset.state = 'refused';
      return { bytes: 0, state: 'refused' };
    }
    if (!response.ok) {
      throw new Error(`answered ${response.status}`);
    }
    const body = await response.blob();
    if (image.src) {
      URL.revokeObjectURL(image.src);
    }
    // Not decode(), which waits for a frame to be painted.
    await new Promise((done, failed) => {
      image.onload = done;
      image.onerror = () => failed(new Error('the picture did not decode'));
      image.src = URL.createObjectURL(body);
    });
    const [word, state] = stateOf(response.headers.get('cache-status'));
    const arrivedType = body.type.split(';')[0];
    const format = (arrivedType.split('/')[1] || 'unknown').toUpperCase();
    const length = Number(response.headers.get('content-length') || body.size);
    arrived.replaceChildren(
      `${format} · ${image.naturalWidth} × ${image.naturalHeight} · ${sizeText(body.size)} · `,
      element('b', state === 'hit' ? 'hit' : 'miss', word),
    );
    if (type && arrivedType !== type) {
      arrived.append(` · not yet ${type.split('/')[1]}`);
    }
    arrived.title = response.headers.get('cache-status') || '';
    figure.dataset.format = format.toLowerCase();
    figure.dataset.bytes = String(body.size);
    figure.dataset.length = String(length);
    figure.dataset.size = `${image.naturalWidth}x${image.naturalHeight}`;
    figure.dataset.state = state;
    return { bytes: body.size, state };
  } catch (error) {
    arrived.textContent = `did not arrive: ${error.message}`;
    figure.dataset.state = 'error';
    return { bytes: 0, state: 'error' };
  }
}

function report(photo, came) {
  const shown = came.filter(({ state }) => state !== 'refused' && state !== 'error');
  const count = (wanted) => came.filter(({ state }) => state === wanted).length;
  const bytes = shown.reduce((total, form) => total + form.bytes, 0);
  const making = count('interim') ? `, ${count('interim')} being made` : '';
  document.querySelector('#summary').replaceChildren(
    element('strong', '', `${shown.length} forms, ${count('hit')} from the cache${making}`),
    ` · ${sizeText(bytes)} together; the original alone has ${sizeText(ORIGINALS[photo])}`,
  );
  document.body.dataset.shown = String(shown.length);
  document.body.dataset.hits = String(count('hit'));
  document.body.dataset.errors = String(count('error'));
}

// The photograph that is shown now: what is asked for another one is over.
let current = 0;

async function show(photo, cache) {
  current += 1;
  const own = current;
  const asked = [];
  for (const [group, forms] of Object.entries(FORMS)) {
    const place = document.querySelector(`[data-forms=${group}]`);
    const figures = forms.map(([title, query]) => figureOf(title, query));
    place.replaceChildren(...figures.map(({ figure }) => figure));
    figures.forEach((figure, index) => asked.push([figure, forms[index]]));
  }
  delete document.body.dataset.done;
  const came = await Promise.all(asked.map(([figure, form]) => fill(figure, photo, form, cache)));
  document.body.dataset.done = 'yes';
  for (let turn = 0; own === current; turn += 1) {
    report(photo, came);
    const waiting = came.flatMap(({ state }, index) => (state === 'interim' ? [index] : []));
    if (waiting.length === 0 || turn === TURNS) {
      break;
    }
    await new Promise((done) => {
      setTimeout(done, PAUSE_MILLISECONDS);
    });
    await Promise.all(
      waiting.map(async (index) => {
        const [figure, form] = asked[index];
        came[index] = await fill(figure, photo, form, 'reload');
      }),
    );
  }
}

async function start() {
  const choice = document.querySelector('#photo');
  const asked = new URLSearchParams(location.search).get('photo');
  choice.value = asked in ORIGINALS ? asked : 'dunes';
  choice.addEventListener('change', () => {
    history.replaceState(null, '', `?photo=${choice.value}`);
    show(choice.value, 'default');
  });
  const again = document.querySelector('#again');
  again.hidden = false;
  again.addEventListener('click', async () => {
    again.disabled = true;
    await show(choice.value, 'reload');
    again.disabled = false;
  });
  await show(choice.value, 'default');
}

start();
