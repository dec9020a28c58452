// Play one sound at a time, and the player bar: position, region, loop, volume.
//
// An item is {hit, sound, row, region}: a hit of the server, what to play (see soundOf), its <li> or null, and the selected
// part {start_s, end_s} in seconds of the file or null.

import { partUrl } from "/static/api.js";
import { counter } from "/static/text.js";

const $ = (id) => document.getElementById(id);
const VOLUME = "aural-volume", LOOP = "aural-loop";
const audio = new Audio();
let current = null, frame = 0, wanted = 0, neighbors = () => {}, onFailure = () => {};

export const isCurrent = (item) => current === item;
export const currentItem = () => current;
export const isPlaying = () => current !== null && !audio.paused;

// step(item, -1 or 1) moves to a neighbor of an item; failed(item, text) reports a sound that cannot be played.
export function connect(step, failed) { neighbors = step; onFailure = failed; }

// at_s: where to start, in seconds of the file; by default at the selected part or the window of the hit.
export async function play(item, at_s = item.region?.start_s ?? item.sound.at_s) {
  const turn = (wanted += 1);
  if (current !== item) {
    if (current) show(current, false);
    audio.pause();
    current = item;
    audio.src = item.sound.url;
    showRegion();
  }
  show(item, true);
  const local = Math.max(0, at_s - item.sound.first_s);
  try {
    if (audio.readyState >= 1) audio.currentTime = local;
    else audio.addEventListener("loadedmetadata", () => { if (turn === wanted && local > 0) audio.currentTime = local; }, { once: true });
    await audio.play();
  } catch (error) {
    if (turn !== wanted || error.name === "AbortError") return;
    show(item, false);
    if (error.name !== "NotAllowedError") onFailure(item);
  }
}

export function pause() {
  wanted += 1;
  audio.pause();
  if (current) show(current, false);
}

export const stopAll = pause;

export function toggle(item) {
  if (current === item && !audio.paused) return pause();
  const ended = audio.ended || (item.region && fileTime() >= item.region.end_s - 0.01);
  return current === item && audio.currentTime > 0 && !ended ? play(item, fileTime()) : play(item);
}

// Play a sound without a row: of the map, or the example.
export function playUrl(url, name, shown_s = 0) {
  return play({ hit: { name }, sound: { url, at_s: 0, first_s: 0, shown_s }, row: null, region: null });
}

// Forget the current sound if it is none of these, because its row is gone.
export function keepOnly(items) {
  if (current?.row && !items.includes(current)) { pause(); current = null; $("bar").hidden = true; }
}

export function select(item, region) {
  item.region = region;
  paintRegion(item);
  if (current === item) showRegion();
}

const fileTime = () => (current ? audio.currentTime + current.sound.first_s : 0);
const total = () => (Number.isFinite(audio.duration) && audio.duration > 0 ? audio.duration : current?.sound.shown_s || 0);

function show(item, playing) {
  $("bar").hidden = false;
  document.body.classList.add("with-bar");
  $("bar-name").textContent = item.hit.name;
  $("bar-name").title = item.hit.shown || item.hit.name;
  for (const id of ["bar-previous", "bar-next"]) $(id).disabled = !item.row;
  for (const button of [$("bar-play"), item.row?.querySelector(".play")]) {
    if (!button) continue;
    button.textContent = playing ? "❚❚" : "▶";
    button.setAttribute("aria-label", `${playing ? "Stop" : "Play"} ${item.hit.name}`);
  }
  item.row?.classList.toggle("on", playing);
  cancelAnimationFrame(frame);
  if (playing) frame = requestAnimationFrame(tick);
  else paintTime();
}

function tick() {
  if (!current) return;
  const region = current.region;
  if (region && !audio.seeking && fileTime() >= region.end_s && audio.currentTime > 0) {
    if (looping()) audio.currentTime = region.start_s - current.sound.first_s;
    else return pause();
  }
  paintTime();
  if (!audio.paused || audio.seeking || audio.readyState < 3) frame = requestAnimationFrame(tick);
}

function paintTime() {
  if (!current) return;
  const at_s = fileTime(), seek = $("bar-seek");
  $("bar-time").textContent = counter(at_s);
  $("bar-total").textContent = counter(current.sound.first_s + total());
  seek.max = total() || 1;
  seek.value = audio.currentTime;
  seek.setAttribute("aria-valuetext", `${counter(at_s)} of ${counter(current.sound.first_s + total())}`);
  const cursor = current.row?.querySelector(".cursor");
  if (cursor) cursor.style.left = `${Math.min(100, 100 * audio.currentTime / (current.sound.shown_s || total() || 1))}%`;
}

function paintRegion(item) {
  const chosen = item.row?.querySelector(".wave .chosen");
  if (!chosen) return;
  chosen.hidden = !item.region;
  if (!item.region) return;
  const { first_s, shown_s } = item.sound;
  chosen.style.left = `${100 * (item.region.start_s - first_s) / shown_s}%`;
  chosen.style.width = `${100 * (item.region.end_s - item.region.start_s) / shown_s}%`;
}

function showRegion() {
  const region = current?.region;
  $("region").hidden = !region;
  if (!region) return;
  $("region-start").value = region.start_s.toFixed(2);
  $("region-end").value = region.end_s.toFixed(2);
  $("region-download").href = partUrl(current.hit, region);
  $("region-download").download = partName(current.hit, region);
}

const partName = (hit, region) => `${hit.name.replace(/\.[^.]*$/, "")} ${region.start_s.toFixed(2)}-${region.end_s.toFixed(2)} s.wav`;

// Make a drag carry a file: Chromium's DownloadURL, which file managers and many audio programs accept, and the address.
export function carry(event, url, name, path) {
  const absolute = new URL(url, location.href).href;
  event.dataTransfer.effectAllowed = "copy";
  event.dataTransfer.setData("DownloadURL", `application/octet-stream:${name.replaceAll(":", "_")}:${absolute}`);
  event.dataTransfer.setData("text/uri-list", absolute);
  event.dataTransfer.setData("text/plain", path);
}

$("region-download").addEventListener("dragstart", (event) => {
  const { hit, region } = current;
  carry(event, partUrl(hit, region), partName(hit, region), hit.path);
});
$("region-clear").addEventListener("click", () => { select(current, null); $("bar-play").focus(); });
for (const id of ["region-start", "region-end"]) {
  $(id).addEventListener("change", () => {
    const { first_s, shown_s } = current.sound, inside = (value) => Math.min(Math.max(Number(value) || 0, first_s), first_s + shown_s);
    const start_s = inside($("region-start").value), end_s = inside($("region-end").value);
    if (end_s - start_s >= 0.01) select(current, { start_s, end_s });
    else showRegion();
  });
}

// Set the start or end of the region of the current sound to its position.
export function bound(edge) {
  if (!current?.row) return;
  const { first_s, shown_s } = current.sound, region = { start_s: first_s, end_s: first_s + shown_s, ...current.region };
  region[edge] = fileTime();
  if (region.end_s - region.start_s >= 0.01) select(current, region);
}

const looping = () => $("bar-loop").getAttribute("aria-pressed") === "true";
function loop(on) {
  $("bar-loop").setAttribute("aria-pressed", String(on));
  localStorage.setItem(LOOP, on ? "1" : "");
}
audio.addEventListener("ended", () => {
  if (current && looping()) play(current);
  else if (current) show(current, false);
});
audio.addEventListener("timeupdate", paintTime);
audio.addEventListener("durationchange", paintTime);
$("bar-play").addEventListener("click", () => current && toggle(current));
$("bar-previous").addEventListener("click", () => current && neighbors(current, -1));
$("bar-next").addEventListener("click", () => current && neighbors(current, 1));
$("bar-seek").addEventListener("input", (event) => { audio.currentTime = Number(event.target.value); paintTime(); });
$("bar-loop").addEventListener("click", () => loop(!looping()));
$("bar-volume").addEventListener("input", (event) => {
  audio.volume = Number(event.target.value);
  localStorage.setItem(VOLUME, event.target.value);
});
audio.volume = $("bar-volume").value = localStorage.getItem(VOLUME) ?? 1;
loop(localStorage.getItem(LOOP) === "1");
