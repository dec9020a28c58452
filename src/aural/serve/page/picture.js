// Pictures of sounds: waveform or spectrogram, from the sound as the browser decodes it. Pictures are kept, sounds are not.

const COLUMNS = 480, BANDS = 48, SIZE = 1024, AT_ONCE = 3, KEPT = 400, FLOOR_DB = -60;
const kept = new Map(); // key to {low, high, power, seconds}, the oldest first
const waiting = [];
let busy = 0;

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Return the picture of a sound; `wanted` is asked before it is fetched, so that rows that left the screen cost nothing.
export function pictureOf(url, wanted = () => true) {
  if (kept.has(url)) return Promise.resolve(kept.get(url));
  return new Promise((done, failed) => { waiting.push({ url, wanted, done, failed }); next(); });
}

async function next() {
  if (busy >= AT_ONCE || !waiting.length) return;
  const { url, wanted, done, failed } = waiting.shift();
  if (!wanted()) { done(null); return next(); }
  busy += 1;
  try {
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `the server answered ${answer.status}`);
    const sound = await new OfflineAudioContext(1, 1, 44_100).decodeAudioData(await answer.arrayBuffer());
    const picture = measure(sound);
    kept.set(url, picture);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    done(picture);
  } catch (error) {
    failed(error);
  } finally {
    busy -= 1;
    next();
  }
}

function measure(sound) {
  const samples = sound.getChannelData(0), low = new Float32Array(COLUMNS), high = new Float32Array(COLUMNS);
  let peak = 1e-6;
  for (let column = 0; column < COLUMNS; column += 1) {
    const end = Math.max(Math.floor((column + 1) * samples.length / COLUMNS), Math.floor(column * samples.length / COLUMNS) + 1);
    for (let i = Math.floor(column * samples.length / COLUMNS); i < end && i < samples.length; i += 1) {
      if (samples[i] < low[column]) low[column] = samples[i];
      if (samples[i] > high[column]) high[column] = samples[i];
    }
    peak = Math.max(peak, -low[column], high[column]);
  }
  for (let column = 0; column < COLUMNS; column += 1) { low[column] /= peak; high[column] /= peak; }
  return { low, high, power: spectrum(samples, sound.sampleRate), seconds: sound.duration };
}

// Return the level per column and band, 0 to 1, bands spaced evenly by the logarithm of frequency from 60 Hz up.
function spectrum(samples, rate) {
  const power = new Float32Array(COLUMNS * BANDS), real = new Float32Array(SIZE), imaginary = new Float32Array(SIZE);
  const edges = Array.from({ length: BANDS + 1 }, (_, band) => 60 * (Math.min(20_000, rate / 2) / 60) ** (band / BANDS) * SIZE / rate);
  let most = 1e-12;
  for (let column = 0; column < COLUMNS; column += 1) {
    const center = Math.round((column + 0.5) * samples.length / COLUMNS);
    for (let i = 0; i < SIZE; i += 1) {
      const at = center - SIZE / 2 + i;
      real[i] = at >= 0 && at < samples.length ? samples[at] * (0.5 - 0.5 * Math.cos(2 * Math.PI * i / SIZE)) : 0;
      imaginary[i] = 0;
    }
    transform(real, imaginary);
    for (let band = 0; band < BANDS; band += 1) {
      const first = Math.floor(edges[band]), last = Math.max(first + 1, Math.ceil(edges[band + 1]));
      let sum = 0;
      for (let bin = first; bin < last && bin < SIZE / 2; bin += 1) sum += real[bin] ** 2 + imaginary[bin] ** 2;
      power[column * BANDS + band] = sum / (last - first);
      most = Math.max(most, sum / (last - first));
    }
  }
  return power.map((value) => Math.max(0, 1 - 10 * Math.log10(value / most + 1e-12) / FLOOR_DB));
}

// Replace a signal by its Fourier transform, in place (radix 2).
function transform(real, imaginary) {
  for (let i = 1, j = 0; i < SIZE; i += 1) {
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [real[i], real[j]] = [real[j], real[i]]; [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]]; }
  }
  for (let length = 2; length <= SIZE; length <<= 1) {
    const angle = -2 * Math.PI / length, half = length >> 1;
    for (let k = 0; k < half; k += 1) {
      const c = Math.cos(angle * k), s = Math.sin(angle * k);
      for (let start = k; start < SIZE; start += length) {
        const other = start + half, x = real[other] * c - imaginary[other] * s, y = real[other] * s + imaginary[other] * c;
        real[other] = real[start] - x; imaginary[other] = imaginary[start] - y;
        real[start] += x; imaginary[start] += y;
      }
    }
  }
}

export function paint(canvas, picture, kind) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !picture) return;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.fillStyle = css(kind === "spectrum" ? "--accent" : "--wave");
  if (kind === "spectrum") return paintSpectrum(pen, picture, canvas.width, canvas.height);
  const columns = Math.min(COLUMNS, Math.floor(width / 3)), step = canvas.width / columns, middle = canvas.height / 2;
  for (let column = 0; column < columns; column += 1) {
    let low = 0, high = 0;
    const end = Math.floor((column + 1) * COLUMNS / columns);
    for (let i = Math.floor(column * COLUMNS / columns); i < end; i += 1) {
      low = Math.min(low, picture.low[i]);
      high = Math.max(high, picture.high[i]);
    }
    const top = middle - high * (middle - 1), bottom = middle - low * (middle - 1);
    pen.fillRect(column * step, top, Math.max(1, step * 0.66), Math.max(ratio, bottom - top));
  }
}

function paintSpectrum(pen, picture, width, height) {
  const step = width / COLUMNS, band = height / BANDS;
  for (let column = 0; column < COLUMNS; column += 1) {
    for (let row = 0; row < BANDS; row += 1) {
      const level = picture.power[column * BANDS + row];
      if (level < 0.04) continue;
      pen.globalAlpha = level ** 2;
      pen.fillRect(column * step, height - (row + 1) * band, step + 0.5, band + 0.5);
    }
  }
  pen.globalAlpha = 1;
}
