"""Test libre-mini: the selection of clips, the files written per clip, and that a second call builds nothing."""

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from test_build import card, deb, sound

from aural.audio.io import read
from aural.core.errors import DataError
from aural.data.libre import mini
from aural.data.libre.cards import SOURCES, SourceCard
from aural.data.libre.mini import MiniConfig, build_mini, cache_folder, select
from aural.data.manifest import Row, pcm_sha256, read_manifest


def rows(split: str, class_name: str, groups: dict[str, int], language: str = "") -> list[Row]:
    return [
        Row(path=f"clips/{split}/{class_name}/{group}/{n}.flac", source="x", split=split, class_name=class_name,
            group=group, language=language)
        for group, count in groups.items() for n in range(count)
    ]  # fmt: skip


def test_a_fixed_number_per_class_and_split_spread_over_groups() -> None:
    config = MiniConfig(train=4, valid=1, held_out=3, languages=("en",))
    pool = [
        *rows("train", "dog", {"a": 9, "b": 1, "c": 1}),
        *rows("train", "cat", {"d": 2}),
        *rows("valid", "dog", {"e": 2}),
        *rows("test", "dog", {"f": 2}),
        *rows("eval-only", "dog", {"g": 2}),
        *rows("train", "speech", {"h": 6}, "en"),
        *rows("train", "speech", {"i": 6}, "fr"),
    ]
    kept = select(pool, config)
    assert Counter((row.class_name, row.split) for row in kept if row.split in ("train", "valid")) == {
        ("dog", "train"): 4, ("cat", "train"): 2, ("dog", "valid"): 1, ("speech", "train"): 4,
    }  # fmt: skip
    assert sum(row.split in ("test", "eval-only") for row in kept) == 3
    assert {row.group for row in kept if row.split == "train" and row.class_name == "dog"} == {"a", "b", "c"}
    assert {row.language for row in kept} == {"", "en"}
    assert select(reversed(pool), config) == kept  # the order of the rows does not matter


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MiniConfig:
    files = {f"usr/share/x/dog/bark{n}.wav": sound(n) for n in range(4)}
    files |= {f"usr/share/x/cat/meow{n}.wav": sound(10 + n, 1.5) for n in range(3)}
    deb(tmp_path / "debs", "one-data", files)
    cards = {"one": card("one")}
    monkeypatch.setattr(mini, "source_cards", lambda names: [cards[name] for name in names])
    return MiniConfig(sources=("one",), train=3, longest_s=1.0)


def test_clips_are_opus_with_captions_license_and_checksums(tmp_path: Path, small: MiniConfig) -> None:
    out = tmp_path / "mini"
    report = build_mini(out, small, debs=tmp_path / "debs")
    manifest = read_manifest(out)
    assert report.clips == len(manifest) == 6
    assert report.size_bytes == sum(path.stat().st_size for path in out.rglob("*.opus"))
    for row in manifest:
        clip = read(manifest.file(row))
        assert row.path.endswith(".opus")
        assert pcm_sha256(clip) == row.sha256
        assert clip.duration_s == pytest.approx(row.duration_s, abs=1e-5)
        assert clip.channels == 1
        assert row.duration_s == pytest.approx(1.0 if row.class_name == "cat" else 0.6, abs=0.01)
        assert row.license == "GPL-2.0-or-later"
        assert row.caption_label
        assert row.caption_short
        assert row.caption_detailed
    sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    assert sums == {row.path: hashlib.sha256(manifest.file(row).read_bytes()).hexdigest() for row in manifest}
    assert not (out / ".work").exists()
    again = build_mini(out, small, debs=tmp_path / "no such folder")  # nothing is fetched or built
    assert (again.clips, again.size_bytes, again.sources) == (report.clips, report.size_bytes, None)


def test_a_folder_with_another_corpus_raises(tmp_path: Path, small: MiniConfig) -> None:
    build_mini(tmp_path / "mini", small, debs=tmp_path / "debs")
    with pytest.raises(DataError, match="contains another version of libre-mini; delete the folder"):
        build_mini(tmp_path / "mini", small.model_copy(update={"train": 2}), debs=tmp_path / "debs")
    (tmp_path / "mini" / "libre-mini.json").unlink()
    with pytest.raises(DataError, match="contains another corpus"):
        build_mini(tmp_path / "mini", small, debs=tmp_path / "debs")


def test_the_default_sources_have_cards_and_the_cache_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards: list[SourceCard] = [SOURCES.card(name) for name in MiniConfig().sources]
    assert {card.split for card in cards} >= {"auto", "eval-only", "test"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "aural" / "libre-mini"
