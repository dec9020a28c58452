#!/usr/bin/env bash
# Build the environment that make_goldens.py runs in: the peers as published, each in the newest version that works.
# Usage: tests/golden/make_peers_env.sh [FOLDER]     (default: .peers, which git ignores; PYTHON picks the interpreter)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
env="${1:-$here/../../.peers}"
stamp="$env/.complete"
want="$(cat "$here/peers-requirements.txt" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)"
if [[ -f "$stamp" && "$(cat "$stamp")" == "$want" ]]; then
  echo "peers' environment is up to date: $env"
  exit 0
fi

rm -rf "$env"
"${PYTHON:-python3}" -m venv "$env"
pip() { "$env/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

pip install -r "$here/peers-requirements.txt"
# The peers pin older numpy, librosa and transformers than they need: taken without their pins.
pip install --no-deps torchlibrosa==0.1.0 msclap==1.3.4 laion-clap==1.1.7 torchaudio==2.11.0 openflam==1.0.2 \
  glap_model==0.0.13 dasheng==0.0.9 nnAudio==0.3.4 timm==1.0.31

site="$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
# torchaudio's wheel links CUDA. Resample and MelSpectrogram are pure Python and import once its library is set aside.
if [[ -f "$site/torchaudio/lib/_torchaudio.abi3.so" ]]; then
  mkdir -p "$env/aside"
  mv "$site/torchaudio/lib/_torchaudio.abi3.so" "$env/aside/"
fi
# torchvision breaks transformers' imports where it can be imported without its compiled operators, so it lies in a
# folder of its own that peers.py puts on the path last.
pip download --no-deps --dest "$env/wheels" torchvision==0.28.0
"$env/bin/python" -m zipfile -e "$env"/wheels/torchvision-0.28.0-*.whl "$env/torchvision"
rm -rf "$env/wheels"
echo "$want" > "$stamp"
echo "peers' environment: $env"
