// Names and colors of the groups of the map: labels on the canvas, and a legend of buttons that show one group.

const HUES = [217, 18, 145, 290, 42, 190, 340, 95, 262, 165, 5, 60];
const LABEL_PX = 13;
let placed = null;

const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
export const groupColor = (number) => `hsl(${HUES[number % HUES.length]} ${isDark() ? "75% 66%" : "70% 42%"})`;

// Return {number, name, x, y} per group; the place is the median of its sounds.
export function labels(data) {
  if (placed?.data === data) return placed.labels;
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const result = data.groups.map((name, number) => {
    const members = data.x.flatMap((_, i) => (data.group[i] === number ? [i] : []));
    return { number, name, count: members.length, x: middle(members.map((i) => data.x[i])), y: middle(members.map((i) => data.y[i])) };
  });
  placed = { data, labels: result };
  return result;
}

// Paint the names, largest group first; a name that would cover another is left out (the legend has all).
export function paintLabels(pen, shown, canvas, only) {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(), taken = [];
  pen.font = `600 ${LABEL_PX}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const { number, name, at: [x, y] } of shown) {
    if (only >= 0 && only !== number) continue;
    const width = pen.measureText(name).width, left = Math.max(6, Math.min(x - width / 2, canvas.clientWidth - width - 6));
    const box = { left: left - 5, right: left + width + 5, top: y - 11, bottom: y + 11 };
    if (box.bottom < 0 || box.top > canvas.clientHeight || x < -width || x > canvas.clientWidth + width) continue;
    if (taken.some((one) => box.left < one.right && one.left < box.right && box.top < one.bottom && one.top < box.bottom)) continue;
    taken.push(box);
    pen.globalAlpha = 0.86;
    pen.fillStyle = css("--card");
    pen.beginPath();
    pen.roundRect(box.left, box.top, box.right - box.left, box.bottom - box.top, 6);
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = css("--ink");
    pen.fillText(name, left, y);
  }
  pen.textBaseline = "alphabetic";
}

export function showLegend(data, onSelect) {
  const legend = document.getElementById("legend");
  let selected = -1;
  legend.replaceChildren(...labels(data).map(({ number, name, count }) => {
    const button = document.createElement("button"), swatch = document.createElement("span"), total = document.createElement("span");
    button.type = "button";
    button.className = "chip";
    button.setAttribute("aria-pressed", "false");
    swatch.className = "swatch";
    swatch.dataset.group = number;
    total.className = "count";
    total.textContent = count.toLocaleString("en");
    button.append(swatch, name, total);
    button.addEventListener("click", () => {
      selected = selected === number ? -1 : number;
      [...legend.children].forEach((other, i) => other.setAttribute("aria-pressed", String(i === selected)));
      onSelect(selected);
    });
    return button;
  }));
  colorLegend();
}

export function colorLegend() {
  for (const swatch of document.querySelectorAll("#legend .swatch")) swatch.style.background = groupColor(Number(swatch.dataset.group));
}
