// Requests to the server. An error of the server becomes an Error with its message.

let askForToken = null; // set by app.js: resolves once a token was accepted

export function onTokenNeeded(handler) { askForToken = handler; }

export async function call(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401 && askForToken && path !== "/v1/session") {
    await askForToken();
    return call(path, options);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `the server answered ${answer.status}`);
  }
  return answer.status === 204 ? null : answer.json();
}

const json = (body, signal) => ({
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
});

export const library = () => call("/v1/library");
export const map = () => call("/v1/map");
export const session = (token) => call("/v1/session", json({ token }));

// query: {words: [], minus: [], where, top, example: null | {id} | {blob, name}}
export function search(query, signal) {
  const { example, ...body } = query;
  if (!example || example.id) {
    return call("/v1/search", json({ ...body, like: example ? [example.id] : [] }, signal));
  }
  const form = new FormData();
  form.append("sound", example.blob, "sound");
  for (const text of body.words) form.append("words", text);
  for (const text of body.minus) form.append("minus", text);
  if (body.where) form.append("where", body.where);
  form.append("top", body.top);
  return call("/v1/similar", { method: "POST", body: form, signal });
}

// Say when texts are heard in the part of a hit that is shown.
export function locate(hit, texts) {
  const { first_s, shown_s } = soundOf(hit);
  const end_s = first_s + Math.max(shown_s, 0.01);
  return call(`/v1/audio/${hit.id}/locate`, json({ texts, start_s: first_s, end_s }));
}

const PLAYABLE = new Set(["wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "mp4", "aac", "webm"]);
const SHORT_S = 60;

// Return the sound to play for a hit: the file if it is short and browsers play its format, else the window of the hit.
export function soundOf(hit) {
  const kind = hit.name.split(".").pop().toLowerCase();
  if (hit.duration_s <= SHORT_S) {
    const url = PLAYABLE.has(kind) ? `/v1/audio/${hit.id}` : `/v1/audio/${hit.id}/excerpt?start_s=0&end_s=${SHORT_S}`;
    return { url, at_s: hit.start_s, first_s: 0, shown_s: hit.duration_s, from_s: hit.start_s, to_s: hit.end_s };
  }
  const url = `/v1/audio/${hit.id}/excerpt?start_s=${hit.start_s}&end_s=${hit.end_s}`;
  return { url, at_s: 0, first_s: hit.start_s, shown_s: hit.end_s - hit.start_s, from_s: 0, to_s: 0 };
}
