// The map: one dot per file, similar sounds close together, in named groups. Drag to move, wheel or pinch to zoom, hover
// to play.

import { groupColor, labels, paintLabels, showLegend } from "/static/map_groups.js";
import { playUrl, stopAll } from "/static/player.js";

const canvas = document.getElementById("map"), status = document.getElementById("map-status");
const HEAR_MS = 250, NEAR_PX = 14;
let data = null, hits = new Set(), at = -1, view = { x: 0, y: 0, zoom: 1 }, onMore = () => {}, timer = 0;
let only = -1; // the group that is shown alone in color

export function init(drawn, more) {
  data = drawn;
  onMore = more;
  showLegend(data, (number) => { only = number; frameGroup(); paint(); });
  resize();
}
export const loaded = () => data !== null;
export function mark(ids) { hits = new Set(ids); paint(); }

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const half = () => Math.min(canvas.clientWidth, canvas.clientHeight) / 2 - 16;
const wide = () => Math.max(1, canvas.clientWidth / canvas.clientHeight);
const placeOf = (x, y) => [
  canvas.clientWidth / 2 + (x * wide() - view.x) * half() * view.zoom,
  canvas.clientHeight / 2 - (y - view.y) * half() * view.zoom,
];
const toScreen = (i) => placeOf(data.x[i], data.y[i]);

export function resize() {
  const ratio = devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  paint();
}

export function paint() {
  if (!data || !canvas.width) return;
  const pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  const size = Math.max(1.5, Math.min(4, 90 / Math.sqrt(data.x.length))) * Math.sqrt(view.zoom);
  const dot = (i, radius) => { const [x, y] = toScreen(i); pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fill(); };
  const gray = color("--wave");
  for (let number = 0; number < data.groups.length; number += 1) {
    pen.fillStyle = only < 0 || only === number ? groupColor(number) : gray;
    pen.globalAlpha = only < 0 || only === number ? 0.75 : 0.35;
    for (let i = 0; i < data.x.length; i += 1) if (data.group[i] === number && !hits.has(data.ids[i])) dot(i, size);
  }
  pen.globalAlpha = 1;
  for (let i = 0; i < data.x.length; i += 1) {
    if (!hits.has(data.ids[i])) continue;
    pen.fillStyle = color("--ink");
    dot(i, size * 1.7 + 2);
    pen.fillStyle = groupColor(data.group[i]);
    dot(i, size * 1.7);
  }
  paintLabels(pen, labels(data).map((one) => ({ ...one, at: placeOf(one.x, one.y) })), canvas, only);
  if (at >= 0) {
    const [x, y] = toScreen(at);
    pen.strokeStyle = color("--ink");
    pen.lineWidth = 2;
    pen.beginPath(); pen.arc(x, y, size * 1.7 + 4, 0, 7); pen.stroke();
    pen.font = "600 13px system-ui, sans-serif";
    const name = data.names[at], width = pen.measureText(name).width;
    const left = Math.max(6, Math.min(x - width / 2, canvas.clientWidth - width - 6)), top = y > 40 ? y - 16 : y + 28;
    pen.fillStyle = color("--card"); pen.globalAlpha = .9; pen.fillRect(left - 4, top - 14, width + 8, 19);
    pen.globalAlpha = 1; pen.fillStyle = color("--ink"); pen.fillText(name, left, top);
  }
}

function nearest(px, py, most = NEAR_PX) {
  let best = -1, least = most * most;
  for (let i = 0; i < data.x.length; i += 1) {
    const [x, y] = toScreen(i), distance = (x - px) ** 2 + (y - py) ** 2;
    if (distance < least) { best = i; least = distance; }
  }
  return best;
}

function go(i, hear = true) {
  if (i === at) return;
  at = i;
  clearTimeout(timer);
  if (i < 0) { status.replaceChildren(); stopAll(); return paint(); }
  const name = document.createElement("strong"), more = document.createElement("button");
  name.textContent = data.names[i];
  more.type = "button"; more.textContent = "Similar sounds";
  more.addEventListener("click", () => onMore({ id: data.ids[i], name: data.names[i] }));
  const words = document.createElement("span");
  words.className = "quiet";
  words.textContent = [data.groups[data.group[i]], ...data.tags[i]].join(" · ");
  status.replaceChildren(name, words, more);
  if (hear) timer = setTimeout(play, HEAR_MS);
  paint();
}

const play = () => at >= 0 && playUrl(`/v1/audio/${data.ids[at]}`, data.names[at]);

// Show the selected group at the largest zoom that holds most of it, or everything.
function frameGroup() {
  view = { x: 0, y: 0, zoom: 1 };
  if (only < 0) return;
  const members = data.x.flatMap((_, i) => (data.group[i] === only ? [i] : []));
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const x = middle(members.map((i) => data.x[i] * wide())), y = middle(members.map((i) => data.y[i]));
  const spread = members.map((i) => Math.max(Math.abs(data.x[i] * wide() - x), Math.abs(data.y[i] - y))).sort((a, b) => a - b);
  view = { x, y, zoom: Math.max(1, Math.min(12, 1 / (spread[Math.floor(0.9 * spread.length)] || 1))) };
}


function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
  const before = view.zoom, mx = (px - canvas.clientWidth / 2) / half(), my = (canvas.clientHeight / 2 - py) / half();
  view.zoom = Math.max(1, Math.min(60, before * factor));
  view.x += mx / before - mx / view.zoom;
  view.y += my / before - my / view.zoom;
  if (view.zoom === 1) view = { x: 0, y: 0, zoom: 1 };
  paint();
}

const fingers = new Map();
let moved = 0;
const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, place(event)); moved = 0; });
canvas.addEventListener("pointermove", (event) => {
  if (!data) return;
  const now = place(event), before = fingers.get(event.pointerId);
  if (!before) return go(nearest(...now));
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    zoom(Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.hypot(before[0] - other[0], before[1] - other[1]), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else {
    view.x -= (now[0] - before[0]) / half() / view.zoom;
    view.y += (now[1] - before[1]) / half() / view.zoom;
    paint();
  }
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  fingers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    if (name === "pointerup" && moved < 6 && data) { const i = nearest(...place(event), 24); go(i, false); if (i >= 0) play(); }
  });
}
canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !fingers.size) clearTimeout(timer); });
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400), ...place(event)); }, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (steps) step(...steps);
  else if (event.key === " " || event.key === "Enter") play();
  else if (event.key === "m" && at >= 0) onMore({ id: data.ids[at], name: data.names[at] });
  else if (event.key === "+" || event.key === "=") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "Escape") stopAll();
  else return;
  event.preventDefault();
});

// Move from the selected dot to the nearest one within 45 degrees of the arrow.
function step(dx, dy) {
  if (at < 0) return go(nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e4), false);
  const [x0, y0] = toScreen(at);
  let best = -1, least = Infinity;
  for (let i = 0; i < data.x.length; i += 1) {
    const [x, y] = toScreen(i), along = (x - x0) * dx + (y - y0) * dy, aside = Math.abs((x - x0) * dy) + Math.abs((y - y0) * dx);
    if (i !== at && along > 0 && aside <= along && along + aside < least) { best = i; least = along + aside; }
  }
  if (best < 0) return;
  const [x, y] = toScreen(best);
  if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight) { view.x = data.x[best] * wide(); view.y = data.y[best]; }
  go(best);
}
document.getElementById("zoom-in").addEventListener("click", () => zoom(1.5));
document.getElementById("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
document.getElementById("zoom-all").addEventListener("click", () => zoom(1e-9));
addEventListener("resize", resize);
