// Spans of a hit: highlighted in its waveform, and as a list of buttons that play them.

import { locate } from "/static/api.js";
import { play } from "/static/player.js";
import { tenths } from "/static/text.js";

// row: the <li>; item: of player.js; texts: what to locate.
export async function showSpans(row, item, texts) {
  const list = row.querySelector(".spans");
  for (const old of row.querySelectorAll(".mark")) old.remove();
  list.hidden = false;
  if (!texts.length) return void (list.textContent = "Write words to say what to locate.");
  list.textContent = "locating ...";
  try {
    const answer = await locate(item.hit, texts);
    list.textContent = "";
    for (const span of answer.spans) mark(row, list, item, span);
    for (const best of answer.best) {
      if (answer.spans.some((span) => span.text === best.text)) continue;
      const line = document.createElement("span");
      line.className = "quiet";
      line.textContent = `not heard: ${best.text} (highest ${percent(best.confidence)} at ${tenths(best.at_s)})`;
      list.append(line);
    }
    list.querySelector("button")?.focus();
  } catch (error) {
    list.textContent = error.message;
  }
}

const percent = (confidence) => `${Math.round(100 * confidence)}%`;

function mark(row, list, item, span) {
  const { first_s, shown_s } = item.sound;
  const highlight = document.createElement("div");
  highlight.className = "mark";
  highlight.style.left = `${(100 * (span.onset_s - first_s)) / shown_s}%`;
  highlight.style.width = `${(100 * (span.offset_s - span.onset_s)) / shown_s}%`;
  row.querySelector(".wave").append(highlight);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "span";
  button.textContent = `${span.text} ${tenths(span.onset_s)} to ${tenths(span.offset_s)}, ${percent(span.confidence)}`;
  button.setAttribute("aria-label", `Play ${button.textContent}`);
  button.addEventListener("click", () => play(item, span.onset_s));
  button.addEventListener("focus", () => highlight.classList.add("chosen"));
  button.addEventListener("blur", () => highlight.classList.remove("chosen"));
  list.append(button);
}
