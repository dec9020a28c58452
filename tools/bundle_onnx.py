"""Write the bare ONNX graphs of a bundled model into the folder of its weights.

    pip install -e ".[onnx]"
    python tools/bundle_onnx.py libre-small

Run it again only when the architecture changes. The graphs contain no weights; they are passed in when a graph is
opened, so new weights of the same architecture need no new graphs.
"""

from __future__ import annotations

import sys

from aural.core.weights import weight_card
from aural.models.onnx_export import export_onnx

if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(export_onnx(name, weight_card(name).bundled(), bare=True))
