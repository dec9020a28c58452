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

// Start recording. It ends after 10 s at the latest, or with stop(); cancel() ends it without a result.
// onLevel(peak 0 to 1, seconds left) is called per frame, onEnd(wav blob or null) once.
export async function record(onLevel, onEnd) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream), chunks = [], context = new AudioContext(), meter = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(meter);
  const began = performance.now(), samples = new Float32Array(meter.fftSize);
  let frame = 0, kept = true;
  const look = () => {
    const left_ms = RECORD_MS - (performance.now() - began);
    meter.getFloatTimeDomainData(samples);
    onLevel(samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0), Math.max(0, left_ms / 1000));
    if (left_ms <= 0) stop();
    else frame = requestAnimationFrame(look);
  };
  const stop = () => { if (recorder.state === "recording") recorder.stop(); };
  recorder.ondataavailable = (event) => chunks.push(event.data);
  recorder.onstop = async () => {
    cancelAnimationFrame(frame);
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    onEnd(kept && chunks.length ? await asWav(new Blob(chunks)).catch(() => null) : null);
  };
  recorder.start();
  look();
  setTimeout(stop, RECORD_MS); // frames pause in a tab that is not visible
  return { stop, cancel: () => { kept = false; stop(); } };
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
