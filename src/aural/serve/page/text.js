// Format times, counts and filters.

export function clock(seconds) {
  const total = Math.round(seconds), hours = Math.floor(total / 3600), minutes = Math.floor(total / 60) % 60;
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

export function counter(seconds) {
  const tenths = Math.max(0, Math.floor(10 * seconds + 1e-6)), minutes = Math.floor(tenths / 600);
  return `${minutes}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

export const tenths = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : `${clock(Math.floor(seconds))}.${Math.floor(10 * (seconds % 1))}`);

export const lasts = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : seconds < 60 ? `${Math.round(seconds)} s` : clock(seconds));

export const many = (count, noun, nouns = `${noun}s`) => `${count.toLocaleString("en")} ${count === 1 ? noun : nouns}`;

export const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const plain = (text) => text.replace(/[\\%_]/g, (character) => `\\${character}`);
const either = (parts) => (parts.length === 1 ? parts[0] : `(${parts.join(" or ")})`);

function range(name, text) {
  const [low, high] = text.split("..");
  const parts = [low && `${name} >= ${low}`, high && `${name} < ${high}`].filter(Boolean);
  return parts.length === 1 ? parts[0] : `(${parts.join(" and ")})`;
}

// Return the filter of the selected values of one facet.
function facetFilter(name, values) {
  if (name === "tags") return either(values.map((value) => `tags has ${quote(value)}`));
  if (name === "loop") return either(values.map((value) => (value === "true" ? "loop" : "not loop")));
  if (values[0].includes("..")) return either(values.map((value) => range(name, value)));
  const list = values.map((value) => (name === "channels" ? value : quote(value)));
  return list.length === 1 ? `${name} = ${list[0]}` : `${name} in (${list.join(", ")})`;
}

// Combine the fields and facets of the page into one filter; `without` leaves one facet out.
export function filterOf({ path, where, facets }, without = "") {
  const parts = [];
  if (path.trim()) parts.push(`path ilike ${quote(`%${plain(path.trim())}%`)}`);
  for (const [name, values] of Object.entries(facets)) {
    if (values.length && name !== without) parts.push(facetFilter(name, values));
  }
  if (where.trim()) parts.push(parts.length ? `(${where.trim()})` : where.trim());
  return parts.join(" and ") || null;
}
