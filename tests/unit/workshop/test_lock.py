"""Who is alone with a place."""

import threading
from pathlib import Path

import pytest

from workshop.lock import held


@pytest.mark.parametrize("folder", [False, True])
def test_one_holds_it_at_a_time(tmp_path: Path, folder: bool):
    """A file or a folder, made when missing; a second one that will not wait is told, and gets it afterwards."""
    place = tmp_path / "new" / "place"
    with held(place, folder=folder) as first, held(place, lambda: False, folder=folder) as second:
        assert (first, second, place.is_dir()) == (True, False, folder)
    with held(place, lambda: False, folder=folder) as third:
        assert third


def test_who_waits_gets_it_next(tmp_path: Path):
    """Once it is let go, and not before."""
    seen: list[str] = []
    asked = threading.Event()

    def busy() -> bool:
        asked.set()
        return True

    def wait() -> None:
        with held(tmp_path / "place", busy):
            seen.append("second")

    other = threading.Thread(target=wait)
    with held(tmp_path / "place"):
        other.start()
        assert asked.wait(60)
        seen.append("first")
    other.join(60)
    assert seen == ["first", "second"]
