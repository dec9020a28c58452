#!/bin/sh
# Build a library of the sounds in some folders, analyze it, use its page in Chromium, and print times and memory.
#
#   tools/measure_library.sh OUT FOLDER...
#
# OUT receives the library, the screenshots and results.txt. A library that is there already is not built again.
# MODEL, JOBS, STATES, SCREENS, PORT and PYTHON (the interpreter) may be set: MODEL=libre-base JOBS=2.
set -eu
OUT=$1
shift
PYTHON=${PYTHON:-python} MODEL=${MODEL:-libre-base} JOBS=${JOBS:-2} PORT=${PORT:-8795}
SCREENS=${SCREENS:-wide-light wide-dark phone-light phone-dark}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
LIBRARY=$OUT/library
RESULTS=$OUT/results.txt
say() { echo "$@" | tee -a "$RESULTS"; }
# Print the seconds by the clock, the processor time and the largest memory of a command.
timed() {
  "$PYTHON" - "$@" <<'PY' | tee -a "$RESULTS"
import resource, subprocess, sys, time
began = time.perf_counter()
run = subprocess.run(sys.argv[2:], capture_output=True, text=True)
took = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
line = (run.stdout.strip().splitlines() or [""])[-1]
print(f"{sys.argv[1]}: exit {run.returncode}, {took:.2f} s, {used.ru_utime + used.ru_stime:.2f} s of processor time, "
      f"{used.ru_maxrss / 1024:.0f} MiB; {line}", flush=True)
sys.stderr.write(run.stderr[-2000:] if run.returncode else "")
PY
}
memory() { awk '/^(VmHWM|RssAnon|RssFile)/ {printf "%s %d MiB  ", $1, $2 / 1024}' "/proc/$1/status"; }

say "$(date -u +%FT%TZ), $(nproc --all) cores, load $(cut -d' ' -f1-3 /proc/loadavg), model $MODEL"
if [ ! -d "$LIBRARY" ]; then
  timed "library add" "$PYTHON" -m aural library add "$@" -L "$LIBRARY" --model "$MODEL"
  timed "library analyze" "$PYTHON" -m aural library analyze -L "$LIBRARY" --jobs "$JOBS"
fi
timed "library update without changes" "$PYTHON" -m aural library update -L "$LIBRARY"
timed "library optimize" "$PYTHON" -m aural library optimize -L "$LIBRARY"
timed "library check" "$PYTHON" -m aural library check -L "$LIBRARY"
say "bytes: $(cd "$LIBRARY" && du -sk -- * | awk '{printf "%s %.1f MB  ", $2, $1 / 1024}')"
timed "search, cold" "$PYTHON" -m aural search "rain on a roof" -L "$LIBRARY" --top 3
timed "search, cold again" "$PYTHON" -m aural search "rain on a roof" -L "$LIBRARY" --top 3
timed "search, words alone cold" "$PYTHON" -m aural search "a dog barking" -L "$LIBRARY" --where "duration < 5" --top 3
timed "search --warm, first" "$PYTHON" -m aural search "rain on a roof" -L "$LIBRARY" --warm --top 3
sleep 8
for query in "a dog barking" "thunder" "a door closes" "rain on a roof" "metal hit"; do
  timed "search --warm" "$PYTHON" -m aural search "$query" -L "$LIBRARY" --warm --top 3
done

"$PYTHON" -m aural serve --library "$LIBRARY" --port "$PORT" >"$OUT/serve.log" 2>&1 &
SERVER=$!
trap 'kill $SERVER 2>/dev/null || true' EXIT
"$PYTHON" - "$PORT" <<'PY'
import socket, sys, time
end = time.monotonic() + 120
while socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))) and time.monotonic() < end:
    time.sleep(0.2)
PY
say "server, started: $(memory $SERVER)"
"$PYTHON" - "http://127.0.0.1:$PORT" <<'PY' | tee -a "$RESULTS"
import json, statistics, sys, time, urllib.request

def post(body):
    request = urllib.request.Request(sys.argv[1] + "/v1/search", json.dumps(body).encode(), {"Content-Type": "application/json"})
    began = time.perf_counter()
    answer = json.load(urllib.request.urlopen(request, timeout=60))
    return 1000 * (time.perf_counter() - began), answer

words = ["rain", "dog", "engine", "bell", "wind", "laughter", "door", "piano", "steps", "glass", "water", "fire", "horn"]
for name, extra in (("words", {}), ("words, duration < 5", {"where": "duration < 5"}), ("words, path", {"where": "path ilike '%sound%'"})):
    times = [post({"words": [f"{a} and {b}"], **extra})[0] for a in words for b in words[:6]]
    times.sort()
    print(f"server search, {name}: median {statistics.median(times):.1f} ms, p99 {times[int(0.99 * len(times))]:.1f} ms of {len(times)}")
hits = [hit for word in words for hit in post({"words": [word], "top": 100})[1]["hits"]]
folded = [hit for hit in hits if hit["copies"]]
print(f"copies: {len(folded)} of {len(hits)} hits have copies, {sum(len(hit['copies']) for hit in folded)} copies")
PY
say "server, after searches: $(memory $SERVER)"
"$PYTHON" "$(dirname "$0")/walk_page.py" "http://127.0.0.1:$PORT" --out "$OUT/page" --only $SCREENS ${STATES:+--states $STATES} | tee -a "$RESULTS" || true
say "server, after the walk: $(memory $SERVER)"
say "$(date -u +%FT%TZ), load $(cut -d' ' -f1-3 /proc/loadavg)"
