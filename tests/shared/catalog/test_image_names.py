"""The file that a name in a table stands for, in whatever spelling."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import shared.catalog.image_names
from shared.catalog.image_folder import LINK, OUTSIDE, URL, find_images
from shared.catalog.image_names import AMBIGUOUS, match_names
from shared.catalog.images import MISSING
from tests.support.timing import assert_linear

NFC, NFD = "caf\u00e9.jpg", unicodedata.normalize("NFD", "caf\u00e9.jpg")


def found(folder: Path, files: list[str], names: list[str], **options: bool) -> list[str]:
    """Write some files, and return what each name stands for."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return [str(file) for file in find_images(folder, names, **options).values()]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (NFC, NFD),
        (NFD, NFC),
        ("A.JPG", "a.jpg"),
        ("a.jpg", "A.Jpg"),
        ("Straße.jpg", "STRASSE.JPG"),
        ("sub/x.jpg", "sub\\x.jpg"),
        ("Sub/Deep/X.jpg", "sub\\deep/x.JPG"),
        ("sub/x.jpg", "./sub/x.jpg"),
        ("x.jpg", ".\\x.jpg"),
        ("x.jpg", "  x.jpg "),
        ("x .jpg ", "x .jpg"),
        ("a b.jpg", "a%20b.jpg"),
        ("100%.jpg", "100%25.jpg"),
    ],
)
@pytest.mark.fault(5)
def test_a_name_in_another_spelling_stands_for_the_file(tmp_path: Path, file: str, name: str) -> None:
    for guess in (False, True):
        assert found(tmp_path, [file, "other.jpg"], [name], guess=guess) == [str(Path(file))]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("sub/x.jpg", "x.jpg"),
        ("a/b/x.jpg", "b/X.jpg"),
        ("x.jpg", "train_images/x.jpg"),
        ("b/x.jpg", "C:pictures\\b\\x.jpg"),
        ("0108.jpg", "0108"),
        ("sub/0108.JPEG", "0108"),
    ],
)
def test_a_name_with_other_folders_or_without_its_ending_is_guessed(tmp_path: Path, file: str, name: str) -> None:
    assert found(tmp_path, [file, "other.jpg"], [name]) == [file]
    assert found(tmp_path, [], [name], guess=False) == [MISSING]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["a.jpg", "A.JPG"], "A.jpg"),
        ([NFC.upper(), NFD], "Caf\u00e9.jpg"),
        (["one/x.jpg", "two/x.jpg"], "x.jpg"),
        (["x.jpg", "x.png"], "x"),
    ],
)
def test_of_two_files_none_is_taken(tmp_path: Path, files: list[str], name: str) -> None:
    assert found(tmp_path, files, [name]) == [AMBIGUOUS]


def test_the_exact_name_comes_first_and_another_spelling_before_a_guess(tmp_path: Path) -> None:
    files = ["a.jpg", "A.JPG", "sub/a.jpg", "B.jpg", "sub/b.jpg"]
    assert found(tmp_path, files, ["A.JPG", "a.jpg", "sub/a.jpg", "b.jpg"]) == ["A.JPG", "a.jpg", "sub/a.jpg", "B.jpg"]


@pytest.mark.parametrize("names", [["old/1.jpg", "new/1.jpg"], ["old/1.jpg", "1.jpg"], ["1.jpg", "1"]])
def test_one_file_is_not_guessed_for_two_names(tmp_path: Path, names: list[str]) -> None:
    wanted = ["1.jpg" if name == "1.jpg" else AMBIGUOUS for name in names]
    assert found(tmp_path, ["1.jpg"], names) == wanted


@pytest.mark.parametrize(("file", "name"), [("x.png", "x.jpg"), ("b/x.jpg", "a/x.jpg"), ("xx.jpg", "x.jpg")])
def test_another_name_stands_for_no_file(tmp_path: Path, file: str, name: str) -> None:
    assert found(tmp_path, [file], [name]) == [MISSING]


@pytest.mark.fault(5)
def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder, secret = tmp_path / "images", tmp_path / "secret.jpg"
    secret.touch()
    folder.mkdir()
    (folder / "Link.jpg").symlink_to(secret)
    (folder / "way").symlink_to(tmp_path)
    names = {
        "../secret.jpg": OUTSIDE,
        "..\\secret.jpg": OUTSIDE,
        "sub\\..\\..\\secret.jpg": OUTSIDE,
        "%2e%2e/secret.jpg": MISSING,
        "%2e%2e%2fsecret.jpg": MISSING,
        str(secret): OUTSIDE,
        "C:\\secret.jpg": OUTSIDE,
        "\\\\server\\share\\secret.jpg": OUTSIDE,
        "Link.jpg": LINK,
        "link.JPG": LINK,
        "way/secret.jpg": LINK,
        "WAY/secret.jpg": MISSING,
        "secret.jpg": MISSING,
        "https://example.com/a.jpg": URL,
        " s3://bucket/a.jpg": URL,
        "//cdn.example.com/a.jpg": URL,
        "data:image/png;base64,AAAA": URL,
    }
    assert find_images(folder, names) == names
    followed = find_images(folder, ["Link.jpg", "link.JPG", "way/secret.jpg"], follow_links=True)
    assert [str(file) for file in followed.values()] == ["Link.jpg", "Link.jpg", "way/secret.jpg"]


def test_a_hidden_folder_and_a_name_that_is_no_unicode_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a\udcff").mkdir()
    (tmp_path / "a\udcff" / "x.jpg").touch()
    assert found(tmp_path, [".git/x.jpg"], ["x.jpg", "X.JPG"]) == [MISSING, MISSING]


def test_a_folder_of_very_many_files_is_known_by_its_own_names_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.catalog.image_names, "MAX_LISTED", 3)
    files = ["A.jpg", "b.jpg", "sub/c.jpg", "sub/d.jpg"]
    assert found(tmp_path, files, ["a.jpg", "c.jpg"]) == ["A.jpg", MISSING]


def test_the_folder_is_listed_once_for_many_missing_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    names = [f"{n}.JPG" for n in range(100)] + [f"none{n}.jpg" for n in range(100)]
    files = found(tmp_path, [f"{n}.jpg" for n in range(100)], names)
    assert files == [f"{n}.jpg" for n in range(100)] + [MISSING] * 100
    assert listed == [tmp_path]


def test_files_of_one_name_in_very_many_folders_take_time_proportional_to_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(count: int) -> Callable[[], object]:
        files = [("products", str(n), "1.jpg") for n in range(count)]

        def match() -> None:
            monkeypatch.setattr(shared.catalog.image_names, "_paths", lambda *folder: files)
            for names in ([f"PRODUCTS/{n}/1.jpg" for n in range(count)], [f"{n}/1.JPG" for n in range(count)]):
                found = match_names(Path("images"), names, [], guess=True)
                assert found == {name: Path(*file) for name, file in zip(names, files, strict=True)}

        return match

    assert_linear(prepare, 4000)
