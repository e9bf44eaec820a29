// The other side of the comparison: sharp does one job after the other, as the lines of its input say.
'use strict';
const fs = require('fs');
const sharp = require('sharp');

sharp.concurrency(1);
sharp.cache(false);

const makers = {
  // Ours shows transparency white, sharp by itself black.
  jpeg: (picture) => picture.flatten({ background: '#fff' }).jpeg(),
  webp: (picture) => picture.webp(),
  avif: (picture) => picture.avif(),
};

async function make({ file, width, format, times }) {
  const source = fs.readFileSync(file);
  let best = Infinity;
  let result;
  for (let time = 0; time < times; time += 1) {
    const before = process.cpuUsage();
    result = await makers[format](sharp(source).resize({ width, withoutEnlargement: true })).toBuffer();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1000);
  }
  return [{ milliseconds: best, bytes: result.length }, result];
}

async function decode({ file }) {
  const picture = sharp(file, { limitInputPixels: false }).flatten({ background: '#fff' }).toColourspace('srgb');
  const { data, info } = await picture.removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return [{ width: info.width, height: info.height, channels: info.channels }, data];
}

// A photograph that fades out to its edges.
async function fade({ file, to }) {
  const side = 1600;
  const svg = `<svg width="${side}" height="${side}"><radialGradient id="g"><stop offset=".55" stop-color="#fff"/>` +
    `<stop offset=".9" stop-color="#fff" stop-opacity="0"/></radialGradient><rect width="${side}" height="${side}" fill="url(#g)"/></svg>`;
  await sharp(file).resize(side, side, { fit: 'cover' }).ensureAlpha()
    .composite([{ input: Buffer.from(svg), blend: 'dest-in' }]).png().toFile(to);
  return [{}, Buffer.alloc(0)];
}

const jobs = { make, decode, fade, versions: async () => [sharp.versions, Buffer.alloc(0)] };

(async () => {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    const [facts, data] = await jobs[job.do](job);
    process.stdout.write(`${JSON.stringify({ ...facts, length: data.length })}\n`);
    await new Promise((done) => process.stdout.write(data, done));
  }
})();
