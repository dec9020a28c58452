// What the page shows while there is no list of hits: start, loading, nothing, problems, recording; and short messages.

import { many } from "/static/text.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 5000, TOAST_MS = 4000, ROWS = 6;
let retry = null, timer = 0, toastTimer = 0;

const hide = (...ids) => ids.forEach((id) => { $(id).hidden = true; });

function clearProblem() {
  clearTimeout(timer);
  retry = null;
  $("problem").hidden = true;
}

export function start(library) {
  clearProblem();
  hide("empty", "nearest", "loading", "more");
  $("status").textContent = "";
  if (library && !library.files) return showEmpty("This library has no sounds yet", "Add a folder with: aural library add FOLDER", false);
  $("start").hidden = false;
  if (library) $("start-count").textContent = many(library.files, "sound");
}

export function loading(on) {
  if (on) hide("start", "empty");
  $("loading").hidden = !on;
  if (on && !$("loading").children.length) {
    $("loading").append(...Array.from({ length: ROWS }, () => document.createElement("li")));
  }
}

function showEmpty(title, text, clearable) {
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  $("empty-clear").hidden = !clearable;
  $("empty").hidden = false;
  hide("start", "loading");
}

// answer: {count, matches, took_ms, more, words, asks}
export function answered(answer) {
  clearProblem();
  hide("start", "empty", "loading");
  const filtered = !$("active").hidden;
  const none = answer.matches === false && answer.count > 0;
  $("nearest").hidden = !none;
  $("nearest").textContent = none ? `Nothing matches “${answer.words}”. These sounds are the nearest, and probably not what you want.` : "";
  $("more").hidden = !answer.more;
  $("status").textContent = answer.count ? `${answer.count}${answer.more ? "+" : ""} ${answer.asks ? "hit" : "sound"}${answer.count === 1 ? "" : "s"} in ${Math.round(answer.took_ms)} ms` : "No sounds match these filters.";
  if (!answer.count) showEmpty("No sounds match these filters", filtered ? "Remove one of them, or all." : "The library has no sound with these marks.", filtered);
}

export function extended(count, more) {
  $("more").hidden = !more;
  $("status").textContent = `${count}${more ? "+" : ""} hits`;
}

// Show a problem. Nobody answered: try again when the connection is back, and every few seconds.
export function failed(error, again) {
  clearProblem();
  loading(false);
  $("status").textContent = "";
  $("problem-text").textContent = error.message;
  $("problem").hidden = false;
  $("problem").classList.toggle("offline", error.kind === "offline");
  $("problem-retry").hidden = error.kind === "refused";
  retry = again;
  if (error.kind === "offline" || error.kind === "busy") timer = setTimeout(again, RETRY_MS);
}
$("problem-retry").addEventListener("click", () => retry?.());
addEventListener("online", () => retry?.());
addEventListener("offline", () => toast("This computer has no network."));

export function toast(text) {
  clearTimeout(toastTimer);
  $("toast").textContent = text;
  toastTimer = setTimeout(() => { $("toast").textContent = ""; }, TOAST_MS);
}

// record: of example.js. onSound(blob, name) takes the recording.
export function connectRecorder(record, onSound, beforeRecording) {
  let running = null;
  const end = (blob) => {
    running = null;
    $("recorder").hidden = true;
    $("record").setAttribute("aria-pressed", "false");
    $("record").textContent = "● record";
    $("record").focus();
    if (blob) onSound(blob, "the recording");
  };
  const level = (peak, left_s) => {
    $("level").value = Math.sqrt(peak);
    $("left").textContent = left_s.toFixed(1);
    const text = peak > 0.98 ? "Too loud: it clips." : peak < 0.003 ? "No sound yet." : "The level is good.";
    if ($("level-text").textContent !== text) $("level-text").textContent = text;
  };
  $("record").addEventListener("click", async () => {
    if (running) return running.stop();
    beforeRecording();
    try {
      running = await record(level, end);
      $("recorder").hidden = false;
      $("record").setAttribute("aria-pressed", "true");
      $("record").textContent = "■ stop";
      $("record-stop").focus();
    } catch {
      failed(new Error("The microphone cannot be used. Allow it for this page in the browser, or drop a sound file."), null);
      $("problem-retry").hidden = true;
    }
  });
  $("record-stop").addEventListener("click", () => running?.stop());
  $("record-cancel").addEventListener("click", () => running?.cancel());
}

// On narrow screens the filters cover the page.
export function connectFilters() {
  const open = (on) => {
    document.body.classList.toggle("filters-open", on);
    $("filters-open").setAttribute("aria-expanded", String(on));
    $(on ? "filters-close" : "filters-open").focus();
  };
  $("filters-open").addEventListener("click", () => open(true));
  $("filters-close").addEventListener("click", () => open(false));
  $("filters").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("filters-open")) { event.stopPropagation(); open(false); }
  });
}
