// The state of the page and its event handlers: fields, example sound, views, theme, address.

import * as api from "/static/api.js";
import { record, watchDrops } from "/static/example.js";
import * as map from "/static/map.js";
import { playUrl, stopAll } from "/static/player.js";
import * as results from "/static/results.js";
import { filterOf, list, many } from "/static/text.js";

const $ = (id) => document.getElementById(id);
const TOP = 30, WAIT_MS = 120, CHIPS = ["rain", "a dog barking", "footsteps", "a bell", "wind", "laughter", "an engine", "a violin"];
const FIELDS = ["words", "minus", "longest", "path", "tag", "where"];
let example = null, asking = null, timer = 0;

const value = (id) => $(id).value;
const wanted = () => list(value("words"));
const filters = () => filterOf({ longest: value("longest"), path: value("path"), tag: value("tag"), where: value("where") });

function problem(text) {
  $("problem").textContent = text || "";
  $("problem").hidden = !text;
}

async function ask() {
  asking?.abort();
  const words = value("words").trim() ? [value("words").trim()] : [];
  remember();
  if (!words.length && !example) {
    results.show([]);
    map.mark([]);
    results.stale(false);
    problem(value("minus").trim() ? "Unwanted words need words or a sound to be subtracted from." : "");
    $("status").textContent = "";
    $("start").hidden = false;
    return;
  }
  const current = (asking = new AbortController());
  results.stale(true);
  try {
    const query = { words, minus: list(value("minus")), where: filters(), top: TOP, example };
    const answer = await api.search(query, current.signal);
    problem("");
    $("start").hidden = true;
    results.show(answer.hits, like, wanted);
    map.mark(answer.hits.map((hit) => hit.id));
    $("status").textContent = answer.hits.length ? `${answer.matches === false ? "Nothing matches; nearest: " : ""}${many(answer.hits.length, "hit")} in ${Math.round(answer.took_ms)} ms` : "No sounds match these filters.";
  } catch (error) {
    if (error.name === "AbortError") return;
    problem(error.message);
    $("status").textContent = "";
    return; // the last hits stay visible in gray
  }
  results.stale(false);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

function setExample(next) {
  example = next;
  $("example").hidden = !next;
  $("example-name").textContent = next?.name || "";
  ask();
}

function like(hit) {
  view("list");
  setExample({ id: hit.id, name: hit.name });
  scrollTo({ top: 0 });
}

const likeFile = (blob, name) => setExample({ blob, name });

// Store the query in the address (without an uploaded sound), so that it can be bookmarked.
function remember() {
  const kept = new URLSearchParams(FIELDS.filter((id) => value(id)).map((id) => [id, value(id)]));
  if (example?.id) { kept.set("like", example.id); kept.set("name", example.name); }
  history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const id of FIELDS) if (kept.has(id)) $(id).value = kept.get(id);
  if (kept.has("where")) $("where").closest("details").open = true;
  if (/^[0-9a-f]{16}$/.test(kept.get("like") || "")) setExample({ id: kept.get("like"), name: kept.get("name") || "a sound" });
  else ask();
}

async function view(name) {
  for (const one of ["list", "map"]) {
    $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
    $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
  }
  $("results").hidden = name !== "list";
  $("map-view").hidden = name !== "map";
  stopAll();
  if (name !== "map") return;
  if (!map.loaded()) {
    $("map-status").textContent = "Computing the map. It is computed once and again when sounds are added or removed ...";
    try {
      const drawn = await api.map();
      map.init(drawn, like);
      $("map-status").textContent = `${many(drawn.ids.length, "sound")}; similar ones are close together. Hover or use the arrow keys to play them.`;
    } catch (error) {
      $("map-status").textContent = error.message;
    }
  } else map.resize();
}

api.onTokenNeeded(() => new Promise((done) => {
  const door = $("door");
  if (!door.open) door.showModal();
  door.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.session(value("token"));
      door.close();
    } catch (error) {
      $("door-problem").textContent = error.message;
      $("door-problem").hidden = false;
    }
  });
  door.addEventListener("close", done, { once: true });
}));

$("ask").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); ask(); });
for (const id of FIELDS) $(id).addEventListener("input", soon);
$("words").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") { event.preventDefault(); results.focusFirst(); }
});
$("pick").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", (event) => {
  const file = event.target.files[0];
  if (file) likeFile(file, file.name);
  event.target.value = "";
});
$("example-drop").addEventListener("click", () => setExample(null));
$("example-play").addEventListener("click", () => playUrl(example.id ? `/v1/audio/${example.id}` : URL.createObjectURL(example.blob)));
watchDrops(likeFile);

let stopRecording = null;
$("record").addEventListener("click", async () => {
  if (stopRecording) return stopRecording();
  try {
    stopRecording = await record((blob) => {
      stopRecording = null;
      $("record").setAttribute("aria-pressed", "false");
      $("record").textContent = "● record";
      likeFile(blob, "the recording");
    });
    stopAll();
    $("record").setAttribute("aria-pressed", "true");
    $("record").textContent = "■ stop";
  } catch {
    problem("The microphone cannot be used. Allow it for this page, or drop a sound file.");
  }
});

for (const name of ["list", "map"]) $(`tab-${name}`).addEventListener("click", () => view(name));
document.querySelector(".views").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const other = $("tab-list").tabIndex === 0 ? "map" : "list";
  view(other);
  $(`tab-${other}`).focus();
});

const THEME = "aural-theme";
const isDark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const repaint = () => { results.repaint(); map.paint(); };
if (localStorage.getItem(THEME)) document.documentElement.dataset.theme = localStorage.getItem(THEME);
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem(THEME, document.documentElement.dataset.theme);
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); $("words").focus(); $("words").select(); }
  if (event.key === "Escape") stopAll();
});

$("chips").replaceChildren(...CHIPS.map((word) => {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.textContent = word;
  chip.addEventListener("click", () => { $("words").value = word; ask(); });
  return chip;
}));

try {
  const library = await api.library();
  $("library").textContent = `${many(library.files, "sound")} · ${library.model.split("/").pop()}`;
  const tags = Object.entries(library.tags);
  $("tag-field").hidden = !tags.length;
  $("tag").append(...tags.map(([tag, count]) => new Option(`${tag} (${count})`, tag)));
  recall();
} catch (error) {
  problem(error.message);
}
