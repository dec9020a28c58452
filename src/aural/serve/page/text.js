// Format times, counts and filters.

export function clock(seconds) {
  const total = Math.round(seconds), hours = Math.floor(total / 3600), minutes = Math.floor(total / 60) % 60;
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

export const tenths = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : `${clock(Math.floor(seconds))}.${Math.floor(10 * (seconds % 1))}`);

export const lasts = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : seconds < 60 ? `${Math.round(seconds)} s` : clock(seconds));

export const many = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

export const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const plain = (text) => text.replace(/[\\%_]/g, (character) => `\\${character}`);

// Combine the fields of the page into one filter.
export function filterOf({ longest, path, tag, where }) {
  const parts = [];
  if (longest) parts.push(`duration <= ${longest}`);
  if (path.trim()) parts.push(`path ilike ${quote(`%${plain(path.trim())}%`)}`);
  if (tag) parts.push(`tags has ${quote(tag)}`);
  if (where.trim()) parts.push(parts.length ? `(${where.trim()})` : where.trim());
  return parts.join(" and ") || null;
}
