// The list of hits: rows, pictures that are drawn when they come into view, keys, favorites, selecting a part.

import * as api from "/static/api.js";
import { close, open } from "/static/details.js";
import { paint, pictureOf } from "/static/picture.js";
import * as player from "/static/player.js";
import { showSpans } from "/static/spans.js";
import { clock, lasts, many } from "/static/text.js";

const list = document.getElementById("hits");
const template = document.getElementById("hit");
const LEAST_DRAG_PX = 5;
let items = new Map(), handlers = {}, kind = "wave"; // items: <li> to item of player.js
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const item = items.get(target);
    if (!item) continue;
    item.visible = isIntersecting;
    if (isIntersecting) draw(item);
  }
}, { rootMargin: "200px" });

// on: {like(hit), words() -> [], toast(text), changed()}
export function connect(on) {
  handlers = on;
  player.connect(step, (item) => fail(item, "This sound cannot be played."));
}

export function clear() {
  for (const row of items.keys()) seen.unobserve(row);
  items = new Map();
  list.replaceChildren();
  player.keepOnly([]);
}

export const count = () => [...items.keys()].filter((row) => !row.classList.contains("copy")).length;
export const stale = (on) => list.classList.toggle("stale", on);
export const focusFirst = () => { const row = list.firstElementChild; if (row) audition(row); };
export const hits = () => [...items.values()].map((item) => item.hit);

// Add the hits of a page; those that are listed already are left out.
export function append(found) {
  const listed = new Set(hits().map((hit) => hit.id));
  const fresh = found.filter((hit) => !listed.has(hit.id)).map(rowOf);
  list.append(...fresh);
  if (!list.querySelector("[tabindex='0']") && list.firstElementChild) list.firstElementChild.tabIndex = 0;
  if (fresh.length) markFavorites(fresh.map((row) => items.get(row).hit.id));
}

function rowOf(found) {
  const hit = { ...found, name: found.shown.split("/").pop() }; // names may hold characters that reverse the text
  const row = template.content.firstElementChild.cloneNode(true);
  const item = { hit, sound: api.soundOf(hit), row, region: null, visible: false };
  const long = hit.end_s - hit.start_s < hit.duration_s - 0.01;
  const folder = hit.shown.slice(0, -hit.name.length - 1);
  row.querySelector(".name").textContent = hit.name;
  const where = row.querySelector(".where");
  const place = document.createElement("span");
  place.className = "folder";
  place.textContent = folder.split("/").filter(Boolean).slice(-3).join("/");
  where.title = hit.shown;
  where.append(place);
  if (hit.word_score > 0) where.append(label("name matches", "badge"));
  if (hit.silent) where.append(label("silence", "badge"));
  if (hit.copies?.length) where.append(copiesButton(row, hit));
  for (const tag of hit.tags.slice(0, 6)) where.append(label(tag, "tag"));
  row.querySelector(".seconds").textContent = lasts(hit.duration_s);
  const span = long ? `${clock(hit.start_s)} to ${clock(hit.end_s)}` : "";
  row.querySelector(".kind").textContent = [span, hit.name.includes(".") ? hit.name.split(".").pop().toLowerCase() : ""].filter(Boolean).join(" · ");
  const score = hit.score ? `, score ${hit.score.toFixed(2)}` : "";
  row.querySelector(".length").title = hit.score ? `Cosine with the query: ${hit.score.toFixed(3)}` : "";
  row.setAttribute("aria-label", `${hit.name}, ${lasts(hit.duration_s)}${span ? `, ${span}` : ""}${score}`);
  connectRow(row, item);
  items.set(row, item);
  seen.observe(row);
  return row;
}

// A button that unfolds the copies of a hit as rows below it.
function copiesButton(row, hit) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "badge copies";
  button.textContent = `+ ${many(hit.copies.length, "copy", "copies")}`;
  button.setAttribute("aria-label", `${many(hit.copies.length, "copy", "copies")} of ${hit.name}`);
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    const unfold = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(unfold));
    if (!unfold) return fold(row);
    const rows = hit.copies.map(rowOf);
    for (const copy of rows) copy.classList.add("copy");
    row.after(...rows);
    keepOrder();
    markFavorites(hit.copies.map((copy) => copy.id));
  });
  return button;
}

function fold(row) {
  while (row.nextElementSibling?.classList.contains("copy")) {
    const copy = row.nextElementSibling;
    seen.unobserve(copy);
    items.delete(copy);
    copy.remove();
  }
  player.keepOnly([...items.values()]);
}

// The items in the order of their rows, in which the arrow keys move.
function keepOrder() { items = new Map([...list.children].map((row) => [row, items.get(row)])); }

function label(text, kind) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function connectRow(row, item) {
  const { hit, sound } = item, find = (name) => row.querySelector(name);
  find(".play").setAttribute("aria-label", `Play ${hit.name}`);
  find(".play").addEventListener("click", () => player.toggle(item));
  find(".more").setAttribute("aria-label", `similar to ${hit.name}`);
  find(".more").addEventListener("click", () => handlers.like(hit));
  find(".favorite").setAttribute("aria-label", `Favorite: ${hit.name}`);
  find(".favorite").addEventListener("click", () => favorite(row, hit));
  find(".open").setAttribute("aria-label", `details of ${hit.name}`);
  find(".open").addEventListener("click", () => toggleDetails(row));
  find(".name").addEventListener("dragstart", (event) => player.carry(event, api.fileUrl(hit), hit.name, hit.path));
  find(".chosen").hidden = true;
  const { first_s, shown_s } = sound, place = find(".place");
  place.hidden = hit.end_s - hit.start_s >= shown_s - 0.01;
  place.style.left = `${100 * (hit.start_s - first_s) / shown_s}%`;
  place.style.width = `${100 * (hit.end_s - hit.start_s) / shown_s}%`;
  connectWave(find(".wave"), item);
}

// A click plays from its position; a drag selects a part, or moves an edge of the selected part.
function connectWave(wave, item) {
  const seconds = (event) => {
    const box = wave.getBoundingClientRect(), { first_s, shown_s } = item.sound;
    return first_s + shown_s * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  let from = null, anchor_s = 0;
  wave.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    wave.setPointerCapture(event.pointerId);
    from = event.clientX;
    anchor_s = seconds(event);
    const near = LEAST_DRAG_PX * 2 * item.sound.shown_s / wave.clientWidth;
    if (item.region && Math.abs(anchor_s - item.region.start_s) < near) anchor_s = item.region.end_s;
    else if (item.region && Math.abs(anchor_s - item.region.end_s) < near) anchor_s = item.region.start_s;
  });
  wave.addEventListener("pointermove", (event) => {
    if (from === null || Math.abs(event.clientX - from) < LEAST_DRAG_PX) return;
    const at_s = seconds(event), region = { start_s: Math.min(anchor_s, at_s), end_s: Math.max(anchor_s, at_s) };
    if (region.end_s - region.start_s >= 0.01) player.select(item, region);
  });
  wave.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const dragged = Math.abs(event.clientX - from) >= LEAST_DRAG_PX;
    from = null;
    if (dragged) return player.play(item);
    if (item.region && (anchor_s < item.region.start_s || anchor_s > item.region.end_s)) player.select(item, null);
    player.play(item, seconds(event));
  });
  wave.addEventListener("pointercancel", () => { from = null; });
}

async function draw(item) {
  const wave = item.row.querySelector(".wave"), canvas = wave.querySelector("canvas");
  wave.classList.remove("failed");
  if (item.picture) return paint(canvas, item.picture, kind);
  if (item.drawing) return;
  item.drawing = true;
  wave.classList.add("loading");
  try {
    item.picture = await pictureOf(item.sound.url, () => item.visible && items.has(item.row));
    if (item.picture) paint(canvas, item.picture, kind);
  } catch (error) {
    fail(item, error instanceof TypeError ? "The picture was not loaded." : error.message);
  } finally {
    item.drawing = false;
    wave.classList.remove("loading");
    item.row.classList.toggle("drawn", Boolean(item.picture));
  }
}

function fail(item, text) {
  const wave = item.row?.querySelector(".wave");
  if (!wave) return;
  wave.classList.add("failed");
  wave.dataset.reason = text;
  item.row.querySelector(".wave").title = text;
}

export function repaint() {
  for (const item of items.values()) if (item.picture && item.visible) paint(item.row.querySelector("canvas"), item.picture, kind);
}

export function setKind(next) { kind = next; repaint(); }

async function markFavorites(ids) {
  const answer = await api.marks(ids).catch(() => ({ sounds: [] }));
  const favorites = new Set(answer.sounds.filter((one) => one.favorite).map((one) => one.id));
  for (const [row, item] of items) if (favorites.has(item.hit.id)) showFavorite(row, true);
}

function showFavorite(row, on) {
  const button = row.querySelector(".favorite");
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "♥" : "♡";
}

async function favorite(row, hit) {
  const on = row.querySelector(".favorite").getAttribute("aria-pressed") !== "true";
  showFavorite(row, on);
  try {
    await api.mark(hit.id, { favorite: on });
    handlers.changed();
  } catch (error) {
    showFavorite(row, !on);
    handlers.toast(error.message);
  }
}

function toggleDetails(row) {
  const item = items.get(row), button = row.querySelector(".open"), on = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(on));
  if (!on) return close(row);
  return open(row, item, {
    ...handlers, locate: () => locate(row), copy: () => copy(item.hit),
  });
}

const locate = (row) => showSpans(row, items.get(row), handlers.words());

async function copy(hit) {
  try {
    await navigator.clipboard.writeText(hit.path);
    handlers.toast("Path copied.");
  } catch {
    handlers.toast(`The browser does not allow copying here. Path: ${hit.shown}`);
  }
}

// Focus a row, play it, and stop the one before.
function audition(row) {
  for (const other of list.querySelectorAll(".hit[tabindex='0']")) other.tabIndex = -1;
  row.tabIndex = 0;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  player.play(items.get(row));
}

function step(item, by) {
  const rows = [...items.keys()], at = rows.indexOf(item.row) + by;
  if (rows[at]) audition(rows[at]);
  if (at >= rows.length - 3) handlers.near();
}

const KEYS = {
  ArrowDown: (row) => step(items.get(row), 1),
  ArrowUp: (row) => (row === list.firstElementChild ? document.getElementById("words").focus() : step(items.get(row), -1)),
  Home: () => audition(list.firstElementChild),
  End: () => audition(list.lastElementChild),
  l: locate,
  m: (row) => handlers.like(items.get(row).hit),
  f: (row) => row.querySelector(".favorite").click(),
  d: (row) => row.querySelector(".open").click(),
  c: (row) => copy(items.get(row).hit),
  "[": () => player.bound("start_s"),
  "]": () => player.bound("end_s"),
};

list.addEventListener("keydown", (event) => {
  const row = event.target.closest(".hit");
  if (!row || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  if ((event.key === " " || event.key === "Enter") && event.target === row) player.toggle(items.get(row));
  else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key](row);
  else return;
  event.preventDefault();
});
addEventListener("resize", repaint);
