"""Write the bare ONNX graphs of a bundled model beside its weights; anew only when its architecture changes.

    pip install -e ".[onnx]"
    python tools/bundle_onnx.py libre-small

New weights of the same architecture need nothing: the graphs hold none, they are handed over when a graph is opened.
"""

from __future__ import annotations

import sys

from aural.core.weights import weight_card
from aural.models.onnx_export import export_onnx

if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(export_onnx(name, weight_card(name).bundled(), bare=True))
