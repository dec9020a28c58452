"""Commands of `aural library` during the life of a library: marks, changes of its sounds, spaces, facts and tags."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aural.search import reindex
from aural.search.folder import read_card
from aural.search.library import Library
from aural.search.notebook import COPY, Notebook
from aural.search.spaces import read_pointer, space_folder, space_names
from faults.contents import contents
from faults.harness import Operation, Place, in_turn
from faults.library_operations import has_no_problem, is_sound, library_of, of_library, rows, small, sounds_of
from library_toys import write_sound
from sketch import SketchEmbedder

SPACE = "second"
NEW_SPACE = ("--model", "sketch", "--name", SPACE, "--window", "1")
NOTE = "at the lake"


def _notebook(place: Place) -> dict[str, Any]:
    """Return the rows, and every mark that is set in the notebook and in its copy."""
    folder = place.work / "library"
    state = rows(place)
    copy = place.work / "notebook-copy"
    copy.mkdir(exist_ok=True)
    if (folder / COPY).exists():
        shutil.copyfile(folder / COPY, copy / "notebook.sqlite")
    for name, notebook in (("notebook", Notebook(folder)), ("copy", Notebook(copy))):
        state |= {f"{name} collections": notebook.collections(), f"{name} history": len(notebook.history())}
        for content, marks in notebook.marks().items():
            state |= {f"{name} {content} {mark}": value for mark, value in asdict(marks).items() if value}
    shutil.rmtree(copy)
    return state


def _mark(place: Place) -> list[str]:
    first, second = (str(sounds_of(place) / f"{i}.wav") for i in (0, 1))
    commands = (
        ("favorite", first),
        ("rate", second, "--stars", "4"),
        ("note", first, "--text", NOTE),
        ("collect", "lake", first, second),
    )
    return in_turn(*(of_library(*command)(place) for command in commands))


def _switch(place: Place) -> list[str]:
    return in_turn(of_library("switch", SPACE)(place), of_library("rollback")(place))


def _rows_and_card(place: Place) -> dict[str, Any]:
    folder = place.work / "library"
    return rows(place) | {"removed": read_card(folder).removed, "roots": read_card(folder).roots}


def _all_sounds(place: Place) -> None:
    """A library of every sound of its folder, so that an update adds nothing."""
    library_of(place, sounds_of(place), "*.wav").optimize()


def _remove(place: Place) -> list[str]:
    """Remove a sound; if it is not there any more, as after an interruption, update."""
    first = str(sounds_of(place) / "0.wav")
    present = first in Library(place.work / "library").files()
    return of_library("remove", first)(place) if present else of_library("update")(place)


def _moved(place: Place) -> None:
    """A library of three sounds that were moved to another folder since."""
    before, after = place.inputs / "before", place.inputs / "after"
    for i in range(3):
        write_sound(before / f"{i}.wav", 0.5 + i, i)
    library_of(place, before, "*.wav").optimize()
    shutil.rmtree(after, ignore_errors=True)
    before.rename(after)


def _move(place: Place) -> list[str]:
    """Follow the sounds; update if that was completed before an interruption."""
    library = Library(place.work / "library")
    waiting = any(path.startswith(str(place.inputs / "before")) for path in (*library.files(), *library.card.roots))
    return of_library("move", "INPUTS/before", "INPUTS/after")(place) if waiting else of_library("update")(place)


def _all_moved(place: Place, killed: bool) -> None:
    """Verify that every sound has its rows, below the former folder or the present one."""
    has_no_problem(place, killed)
    names = sorted(Path(path).name for path in Library(place.work / "library").files())
    assert names == ["0.wav", "1.wav", "2.wav"], f"sounds are missing or doubled: {names}"


def _second_space(place: Place) -> None:
    small(place)
    folder = place.work / "library"
    space = reindex.new_space(folder, SketchEmbedder(1), model="sketch", name=SPACE, window_s=1.0)
    list(reindex.reindex(Library(folder), space, SketchEmbedder(1)))


def _spaces(place: Place) -> dict[str, Any]:
    """Return the rows of the active space, the pointer, and the vectors of the second space if it has any."""
    root = place.work / "library"
    state = rows(place) | {"active": read_pointer(root).active, "previous": read_pointer(root).previous}
    if SPACE in space_names(root) and (files := Library(root, space=SPACE).all_file_vectors()[0]):
        state |= {"second files": sorted(files)}
    return state


def _spaces_are_sound(place: Place, killed: bool) -> None:
    """Verify that both spaces have no problem, and that no sound of the first one is lost."""
    root = place.work / "library"
    is_sound(place, killed)
    if SPACE in space_names(root):
        has_no_problem(Place(place.inputs, root / "spaces"), killed, name=SPACE)
    assert len(Library(root, space="first").files()) == 3


def _delete_space(place: Place) -> list[str]:
    """Delete the second space, or complete its deletion; list the spaces if it is deleted."""
    folder = space_folder(place.work / "library", SPACE)
    present = folder.exists() or folder.with_name(f".{SPACE}.deleted").exists()
    return of_library("spaces", *(["--delete", SPACE] if present else []))(place)


def _facts(place: Place) -> dict[str, Any]:
    columns = Library(place.work / "library").facts.columns()
    values = zip(*(columns[name].tolist() for name in columns if name != "hash"), strict=True)
    return rows(place) | {f"facts {content}": repr(one) for content, one in zip(columns["hash"], values, strict=True)}


def _own_sounds(place: Place) -> None:
    """A library with a note whose sounds are in the folder of the run, because the command changes them."""
    home = place.inputs.parent / "work" / "sounds"  # the addresses that the library stores
    for i, suffix in enumerate(("wav", "flac")):
        write_sound(home / f"{i}.{suffix}", 0.5 + i, i)
    library_of(place, home, "*").optimize()
    library = Library(place.work / "library")
    library.notebook.write_note([one.hash for one in library.files().values()], NOTE)
    shutil.copytree(home, place.inputs / "untagged")
    home.rename(place.work / "sounds")


def _tagged_files(place: Place) -> dict[str, Any]:
    """Return the rows, and the bytes of each sound."""
    sounds = {f"sounds/{name}": one for name, one in contents(place.work / "sounds").items()}
    return rows(place) | sounds


def _tags_are_sound(place: Place, killed: bool) -> None:
    """Verify that the samples of each sound are unchanged, and that each stored content has the note."""
    has_no_problem(place, killed)
    for file in (place.inputs / "untagged").iterdir():
        before, after = (soundfile.read(folder / file.name)[0] for folder in (file.parent, place.work / "sounds"))
        assert np.array_equal(before, after), f"the samples of {file.name} changed"
    library = Library(place.work / "library")
    marks = library.notebook.marks()
    assert len(library.files()) == 2
    assert all(marks[one.hash].note == NOTE for one in library.files().values()), "a note was lost"


def _update_first(place: Place) -> list[str]:
    """Update, which embeds the sounds whose rows were not written, and write the tags."""
    return in_turn(of_library("update")(place), _write_tags(place))


_write_tags = of_library("write-tags", "*", "--genre", "rain")


OPERATIONS = [
    Operation("library favorite, rate, note, collect", small, _mark, _notebook, is_sound),
    Operation("library remove", _all_sounds, _remove, _rows_and_card, has_no_problem),
    Operation("library move", _moved, _move, _rows_and_card, _all_moved, mixed=True),
    Operation("library reindex", small, of_library("reindex", *NEW_SPACE), _spaces, _spaces_are_sound, mixed=True),
    Operation("library switch, rollback", _second_space, _switch, _spaces, _spaces_are_sound, mixed=True),
    Operation("library spaces --delete", _second_space, _delete_space, _spaces, _spaces_are_sound),
    Operation("library analyze", small, of_library("analyze"), _facts, is_sound),
    Operation(
        "library write-tags", _own_sounds, _write_tags, _tagged_files, _tags_are_sound, _update_first, mixed=True
    ),
]  # fmt: skip
