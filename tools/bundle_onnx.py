"""Write the bare ONNX graphs of a bundled model or tagger into the folder of its weights.

    pip install -e ".[onnx]"
    python tools/bundle_onnx.py libre-small yamnet

Run it again only when the architecture changes. The graphs contain no weights; they are passed in when a graph is
opened, so new weights of the same architecture need no new graphs.
"""

from __future__ import annotations

import sys

from aural.core.weights import weight_card
from aural.models.embedding import EmbeddingModel
from aural.models.load import load
from aural.models.onnx_export import export_onnx, write_tagger_graph
from aural.models.tagger import Tagger

if __name__ == "__main__":
    for name in sys.argv[1:]:
        folder = weight_card(name).bundled()
        model: EmbeddingModel = load(name, engine="torch", device="cpu")
        if isinstance(model, Tagger):
            write_tagger_graph(model, folder)
        else:
            export_onnx(name, folder, bare=True)
        print(folder)
