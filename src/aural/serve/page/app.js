// The state of the page and its event handlers: fields, example sound, pages of hits, views, theme, address.

import * as address from "/static/address.js";
import * as api from "/static/api.js";
import { record, watchDrops } from "/static/example.js";
import * as facets from "/static/facets.js";
import * as map from "/static/map.js";
import { colorLegend } from "/static/map_groups.js";
import { playUrl, stopAll } from "/static/player.js";
import * as results from "/static/results.js";
import * as states from "/static/states.js";
import { filterOf, list, many } from "/static/text.js";

const $ = (id) => document.getElementById(id);
const PAGE = 40, MOST = 1000, WAIT_MS = 150, EXAMPLES = ["rain", "a dog barking", "footsteps", "a bell", "wind", "laughter", "an engine", "a violin"];
const TEXTS = ["words", "minus", "path", "where"];
const PICTURE = "aural-picture", THEME = "aural-theme";
let state = address.read(), upload = null, library = null; // upload: {blob, name}, not part of the address
let asking = null, timer = 0, cursor = null, shown = PAGE;

const example = () => upload || state.like;
const asks = () => Boolean(state.words.trim() || example());

function query() {
  const { favorites, collections, order } = state;
  const words = state.words.trim() ? [state.words.trim()] : [], minus = asks() ? list(state.minus) : [];
  return { words, minus, where: filterOf(state), favorites, collections, min_stars: state.stars, order, fold: !state.copies, top: shown, example: example() };
}

// Search again. remember: the query was committed, not only typed.
async function ask({ remember = false, count = PAGE } = {}) {
  clearTimeout(timer);
  asking?.abort();
  shown = count;
  cursor = null;
  facets.showActive(state);
  $("copies-field").hidden = !state.copies;
  $("order-field").hidden = asks() || !address.narrows(state);
  if (!asks() && !address.narrows(state)) {
    results.clear();
    map.mark([]);
    states.start(library);
    showRecent();
    return facets.refresh(state);
  }
  const current = (asking = new AbortController());
  states.loading(results.count() === 0);
  results.stale(true);
  facets.refresh(state);
  try {
    const answer = await api.search({ ...query(), ...(asks() && !upload ? { remember } : {}) }, current.signal);
    if (current !== asking) return;
    results.clear();
    results.append(answer.hits);
    showCopiesField(answer.hits);
    cursor = answer.next_cursor;
    map.mark(answer.hits.map((hit) => hit.id));
    states.answered({ count: answer.hits.length, matches: answer.matches, took_ms: answer.took_ms, more: hasMore(answer), words: state.words.trim(), asks: asks() });
    document.title = state.words.trim() ? `${state.words.trim()}: aural` : "aural: search your sounds";
  } catch (error) {
    if (error.name === "AbortError") return;
    states.failed(error, () => ask({ remember, count }));
    return; // the last hits stay visible in gray
  }
  results.stale(false);
}

// Searches by an upload have no cursor: they are asked again for more.
const hasMore = (answer) => Boolean(cursor) || (upload !== null && answer.hits.length === shown && shown < MOST);

function showCopiesField(hits) { if (hits.some((hit) => hit.copies?.length)) $("copies-field").hidden = false; }

let extending = false;
async function more() {
  if (extending || $("more").hidden) return;
  extending = true;
  const current = asking;
  states.loading(true);
  try {
    const next = upload ? { top: Math.min(MOST, shown + PAGE) } : { top: PAGE, cursor };
    const answer = await api.search({ ...query(), top: shown, ...next }, current?.signal);
    if (current !== asking) return;
    shown = upload ? next.top : shown + PAGE;
    cursor = answer.next_cursor;
    results.append(answer.hits);
    showCopiesField(answer.hits);
    map.mark(results.hits().map((hit) => hit.id));
    states.extended(results.count(), hasMore(answer));
  } catch (error) {
    if (error.name !== "AbortError") states.failed(error, more);
  } finally {
    extending = false;
    states.loading(false);
  }
}

function soon() {
  readFields();
  clearTimeout(timer);
  timer = setTimeout(() => { replace(); ask(); }, WAIT_MS);
}

function readFields() { for (const name of TEXTS) state[name] = $(name).value; }
function writeFields() {
  for (const name of TEXTS) $(name).value = state[name];
  $("order").value = state.order;
  $("copies").checked = state.copies;
  if (state.where) $("expert").open = true;
  $("example").hidden = !example();
  $("example-name").textContent = example()?.name || "";
}

// A change that Back undoes gets an entry of the history; typing replaces the last one.
function push() {
  history.replaceState({ count: results.count(), y: scrollY }, "");
  history.pushState(null, "", address.write(state));
}
const replace = () => history.replaceState(history.state, "", address.write(state));

function change(edit) {
  readFields();
  edit(state);
  push();
  writeFields();
  ask({ remember: true });
}

function like(hit) {
  upload = null;
  change((next) => { next.like = { id: hit.id, name: hit.name }; next.view = "list"; });
  show("list");
  scrollTo({ top: 0 });
}

function likeFile(blob, name) {
  upload = { blob, name };
  change((next) => { next.like = null; next.view = "list"; });
  show("list");
}

addEventListener("popstate", async (event) => {
  upload = null;
  state = address.read();
  writeFields();
  show(state.view);
  const { count = PAGE, y = 0 } = event.state || {};
  await ask({ count: Math.min(MOST, Math.max(PAGE, count)) });
  scrollTo({ top: y });
});

async function showRecent() {
  const past = (await api.history().catch(() => ({ queries: [] }))).queries;
  const words = [...new Set(past.map((one) => (one.query.words || []).join(", ")).filter(Boolean))].slice(0, 8);
  $("recent").hidden = !words.length;
  $("recent-chips").replaceChildren(...words.map(wordChip));
}

function wordChip(word) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "chip";
  chip.textContent = word;
  chip.addEventListener("click", () => { $("words").value = word; change(() => {}); });
  return chip;
}

// The server continues to compute a map whose request ran out of time, so the page asks again while the map is shown.
async function drawnMap() {
  for (;;) {
    try {
      return await api.map();
    } catch (error) {
      if (error.kind !== "busy" || $("map-view").hidden) throw error;
    }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

async function show(name) {
  for (const one of ["list", "map"]) {
    $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
    $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
  }
  $("results").hidden = name !== "list";
  $("map-view").hidden = name !== "map";
  $("picture-field").hidden = name !== "list";
  if (name === "list") return results.repaint();
  if (map.loaded()) return map.resize();
  $("map-status").textContent = "Computing the map. This happens once, and again after sounds were added or removed ...";
  $("map-view").setAttribute("aria-busy", "true");
  try {
    const drawn = await drawnMap();
    map.init(drawn, like);
    $("map-status").textContent = `${many(drawn.ids.length, "sound")}; similar ones are close together. Hover, tap or use the arrow keys to hear them.`;
  } catch (error) {
    $("map-status").textContent = error.message;
  } finally {
    $("map-view").removeAttribute("aria-busy");
  }
}

function view(name) {
  if (state.view === name) return;
  stopAll();
  readFields();
  push();
  state.view = name;
  replace();
  show(name);
}

api.onTokenNeeded(() => new Promise((done) => {
  const door = $("door");
  if (!door.open) door.showModal();
  door.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.session($("token").value);
      door.close();
    } catch (error) {
      $("door-problem").textContent = error.message;
      $("door-problem").hidden = false;
    }
  });
  door.addEventListener("close", done, { once: true });
}));

results.connect({
  like, words: () => list($("words").value), toast: states.toast, near: more, changed: () => facets.refreshCollections(state),
});
facets.connect(change);
$("ask").addEventListener("submit", (event) => { event.preventDefault(); change(() => {}); });
for (const id of TEXTS) $(id).addEventListener("input", soon);
$("words").addEventListener("change", () => { if (asks()) { readFields(); replace(); } });
$("words").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") { event.preventDefault(); results.focusFirst(); }
});
$("order").addEventListener("change", () => change((next) => { next.order = $("order").value; }));
$("copies").addEventListener("change", () => change((next) => { next.copies = $("copies").checked; }));
$("clear").addEventListener("click", clearFilters);
$("empty-clear").addEventListener("click", clearFilters);
$("browse").addEventListener("click", () => change((next) => { next.all = true; }));
$("more").addEventListener("click", more);
new IntersectionObserver(([entry]) => { if (entry.isIntersecting) more(); }, { rootMargin: "600px" }).observe($("more"));

function clearFilters() {
  const { words, like: sound, view: name, order, copies } = state;
  for (const id of TEXTS) if (id !== "words") $(id).value = "";
  change((next) => Object.assign(next, structuredClone(address.EMPTY), { words, like: sound, view: name, order, copies }));
}

$("pick").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", (event) => {
  const file = event.target.files[0];
  if (file) likeFile(file, file.name);
  event.target.value = "";
});
$("example-drop").addEventListener("click", () => { upload = null; change((next) => { next.like = null; }); $("words").focus(); });
$("example-play").addEventListener("click", () => {
  if (upload) playUrl(URL.createObjectURL(upload.blob), upload.name);
  else playUrl(`/v1/audio/${state.like.id}`, state.like.name);
});
watchDrops(likeFile);
states.connectRecorder(record, likeFile, stopAll);
states.connectFilters();

for (const name of ["list", "map"]) $(`tab-${name}`).addEventListener("click", () => view(name));
document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const other = $("tab-list").tabIndex === 0 ? "map" : "list";
  view(other);
  $(`tab-${other}`).focus();
});

const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const repaint = () => { results.repaint(); map.paint(); colorLegend(); };
if (localStorage.getItem(THEME)) document.documentElement.dataset.theme = localStorage.getItem(THEME);
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem(THEME, document.documentElement.dataset.theme);
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
$("picture").value = localStorage.getItem(PICTURE) || "wave";
results.setKind($("picture").value);
$("picture").addEventListener("change", (event) => { localStorage.setItem(PICTURE, event.target.value); results.setKind(event.target.value); });

addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); $("words").focus(); $("words").select(); }
  if (event.key === "Escape") stopAll();
});
$("chips").replaceChildren(...EXAMPLES.map(wordChip));

async function begin() {
  try {
    library = await api.library();
    $("library").textContent = `${many(library.files, "sound")} · ${library.model.split("/").pop()}`;
    $("columns").textContent = `Columns: ${Object.keys(library.columns).join(", ")}.`;
    writeFields();
    facets.refreshCollections(state);
    show(state.view);
    await ask();
  } catch (error) {
    states.failed(error, begin);
  }
}
history.scrollRestoration = "manual";
begin();
