// Example sounds: selected, dropped, or recorded (as wav, which every server can decode).

const RECORD_MS = 10_000;

export function watchDrops(onFile) {
  const veil = document.getElementById("drop");
  let depth = 0;
  const has = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragenter", (event) => { if (has(event)) { depth += 1; veil.hidden = false; } });
  addEventListener("dragleave", (event) => { if (has(event)) { depth -= 1; veil.hidden = depth > 0 ? false : true; } });
  addEventListener("dragover", (event) => { if (has(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!has(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    const file = event.dataTransfer.files[0];
    if (file) onFile(file, file.name);
  });
}

// Start recording and return a function that stops it. It stops after 10 s at the latest and calls onEnd with a wav blob.
export async function record(onEnd) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const chunks = [];
  recorder.ondataavailable = (event) => chunks.push(event.data);
  const ended = new Promise((done) => { recorder.onstop = done; });
  recorder.start();
  const limit = setTimeout(() => recorder.state === "recording" && recorder.stop(), RECORD_MS);
  ended.then(async () => {
    clearTimeout(limit);
    stream.getTracks().forEach((track) => track.stop());
    onEnd(await asWav(new Blob(chunks)));
  });
  return () => recorder.state === "recording" && recorder.stop();
}

async function asWav(blob) {
  const context = new OfflineAudioContext(1, 1, 48_000);
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  const samples = sound.getChannelData(0), view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}
