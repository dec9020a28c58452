"""The embedding function for LanceDB: a table of sounds that is searched by words, paths and bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")

import lancedb
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector

from aural.core.errors import DataError
from aural.models import lancedb_function
from library_toys import write_sound
from sketch import DIM, SketchEmbedder


@pytest.fixture
def sketch(monkeypatch: pytest.MonkeyPatch) -> SketchEmbedder:
    monkeypatch.setattr("aural.models.load.load", lambda name, device: SketchEmbedder(len(name) - 6))
    return SketchEmbedder()


def test_a_table_of_sounds(tmp_path: Path, sketch: SketchEmbedder) -> None:
    function = get_registry().get("aural").create(model="sketch")

    class Sound(LanceModel):
        path: str = function.SourceField()
        vector: Vector(function.ndims()) | None = function.VectorField(default=None)  # type: ignore[valid-type]

    paths = [str(write_sound(tmp_path / f"{i}.wav", 0.5, i)) for i in range(5)]
    table = lancedb.connect(tmp_path / "db").create_table("sounds", schema=Sound)
    table.add([{"path": path} for path in paths])
    stored = np.array(table.to_arrow()["vector"].to_pylist(), np.float32)
    np.testing.assert_allclose(stored, sketch.embed_audio([Path(path) for path in paths]), atol=1e-6)

    opened = lancedb.connect(tmp_path / "db").open_table("sounds")  # the function comes from the table's metadata
    order = np.argsort(-(stored @ sketch.embed_text(["rain"])[0]))
    found = opened.search("rain").distance_type("dot").limit(5).to_list()
    assert [one["path"] for one in found] == [paths[i] for i in order]
    for query in (Path(paths[3]), Path(paths[3]).read_bytes()):
        vector = function.compute_query_embeddings(query)[0]
        assert opened.search(vector).distance_type("dot").limit(1).to_list()[0]["path"] == paths[3]


def test_values_of_a_column(tmp_path: Path, sketch: SketchEmbedder) -> None:
    sounds = lancedb_function.AuralEmbeddings.create(model="sketch")
    (tmp_path / "broken.wav").write_bytes(b"x")
    good = write_sound(tmp_path / "0.wav", 0.5, 0)
    vectors = sounds.compute_source_embeddings([str(tmp_path / "broken.wav"), good.read_bytes(), good])
    assert vectors[0] is None
    np.testing.assert_array_equal(vectors[1], vectors[2])
    texts = lancedb_function.AuralEmbeddings.create(model="sketch", source="text")
    np.testing.assert_array_equal(texts.compute_source_embeddings("rain")[0], sketch.embed_text(["rain"])[0])
    assert texts.ndims() == DIM
    with pytest.raises(DataError, match="not int"):
        sounds.compute_source_embeddings([3])
