"""The image of a query: a file that its user named."""

from pathlib import Path

import pytest

from ensemble.index.listings import question
from ensemble.sections import sections
from shared.errors import MatcherError
from shared.pipeline.settings import Settings
from tests.support.listings import draw

SETTINGS = Settings({}, sections())


def test_a_link_that_the_user_named_is_followed(tmp_path: Path) -> None:
    draw(tmp_path / "cache" / "4d7a.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jpg").symlink_to(tmp_path / "cache" / "4d7a.png")
    assert question(SETTINGS, None, tmp_path / "folder" / "a.jpg").has_image.all()


@pytest.mark.fault(6, 36)
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.png", b"", "a.png: empty file"),
        ("a.heic", b"\0\0\0\x18ftypheic", "HEIC is not supported; install pillow-heif"),
        ("a.jpg", b"<html>", "not an image but an HTML page"),
    ],
)
def test_what_cannot_be_used_is_one_error(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MatcherError, match=message):
        question(SETTINGS, None, tmp_path / name)


def test_an_address_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match=r"images must be files; download it and name the file"):
        question(SETTINGS, "mug", Path("https://example.com/a.jpg"))
