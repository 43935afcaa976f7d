"""The commands `python -m ensemble.index` on an index: what they change, answer, print and refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.index.index import Index
from ensemble.index.snapshots import CURRENT, Snapshots
from ensemble.matcher import Matcher
from shared.errors import MatcherError

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tables(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The listings in two tables without pictures."""
    folder = tmp_path_factory.mktemp("tables")
    listings = pd.read_csv(data / "train.csv", dtype=str).drop(columns=["image", "label_group"])
    listings[:80].to_csv(folder / "old.csv", index=False)
    listings[80:].to_csv(folder / "new.csv", index=False)
    listings[:9].to_csv(folder / "gone.csv", index=False)
    return folder


@pytest.fixture
def call(first: tuple[Path, str], command: Command, tables: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A command on an index in the test's folder: its exit code, and what it printed."""

    def run(verb: str, *arguments: object) -> tuple[int, str]:
        ours = ["--run", first[0], "--index", tmp_path / "I", "--data.image_column=", "--compute.threads=1"]
        code, output, error = command("ensemble.index.__main__", verb, *ours, "--compute.device=cpu", *arguments)
        return code, output + error

    return run


Call = Callable[..., tuple[int, str]]


def test_the_commands_add_remove_and_log_what_became_of_the_groups(call: Call, tables: Path, tmp_path: Path) -> None:
    assert call("add", "--data", tables / "old.csv", "--out", tmp_path / "one")[0] == 0
    assert call("add", "--data", tables / "new.csv")[0] == 0
    code, output = call("remove", "--ids", tables / "gone.csv", "--out", tmp_path / "two")
    assert (code, "removed 9" in output, "a rebuild is due" in output) == (0, True, True)
    before, after = (pd.read_parquet(tmp_path / out / "groups.parquet") for out in ("one", "two"))
    gone = set(pd.read_csv(tables / "gone.csv", dtype=str).posting_id)
    assert set(after.posting_id) == (set(before.posting_id) - gone) | set(pd.read_csv(tables / "new.csv").posting_id)
    both = before.merge(after, on="posting_id")
    moved = both[both.group_id_x != both.group_id_y]
    log = [json.loads(line) for line in (tmp_path / "two" / "changes.jsonl").read_text().splitlines()]
    logged = {(change["group_id"], change["into"]) for change in log}
    assert set(zip(moved.group_id_x, moved.group_id_y, strict=True)) <= logged
    code, output = call("remove", "--ids", tables / "gone.csv", "--out", tmp_path / "three")
    assert (code, "removed 0" in output) == (0, True)
    for name in ("matches", "groups", "pairs"):
        again = pd.read_parquet(tmp_path / "three" / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, pd.read_parquet(tmp_path / "two" / f"{name}.parquet"))
    code, output = call("rebuild", "--out", tmp_path / "four")
    assert (code, "a rebuild is due" in output) == (0, False)
    assert (tmp_path / "four" / "submission.csv").exists()


def test_an_index_answers_by_title_and_by_image(call: Call, tables: Path, data: Path, tmp_path: Path) -> None:
    assert call("add", "--data", tables / "old.csv", "--out", tmp_path / "out")[0] == 0
    before = (tmp_path / "I" / CURRENT).read_bytes()
    wanted = pd.read_csv(tables / "old.csv", dtype=str).iloc[5]
    code, output = call("query", "--title", wanted.title)
    lines = output.splitlines()
    assert code == 0
    assert lines[0].startswith("match")
    own = next(at for at, line in enumerate(lines) if f" {wanted.posting_id} " in line)
    assert "equal titles" in lines[own + 1]
    assert "answered in" in lines[-1]
    image = data / "train_images" / pd.read_csv(data / "train.csv").image[5]
    code, output = call("query", "--image", image)
    assert (code, "bits apart" in output or "bit apart" in output) == (0, True)
    assert (tmp_path / "I" / CURRENT).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add"], "name the listings to add with --data"),
        (["rebuild"], "there is no index"),
        (["query", "--title", "tas"], "there is no index"),
        (["query", "--title", "tas", "--data", "x.csv"], "only `add` takes --data"),
        (["query", "--title", "tas", "--ids", "x.txt"], "--ids"),
        (["add", "--title", "tas"], "--title"),
        (["query", "--title", " "], "there is nothing to look for"),
        (["query"], "there is nothing to look for"),
        (["query", "--image", "nowhere.jpg"], "nowhere.jpg: no such file"),
        (["query", "--image", "https://example.com/a.jpg"], "a URL: images must be files; download it"),
        (["remove", "--ids", "nowhere.txt"], "nowhere.txt: no such file"),
        (["remove", "--ids", "nowhere.csv"], "no such file"),
    ],
)
def test_what_a_command_cannot_do_is_one_message(
    arguments: list[str], message: str, call: Call, tmp_path: Path
) -> None:
    code, output = call(*arguments)
    assert (code, message in output) == (2, True)
    assert not (tmp_path / "I").exists()


@pytest.mark.parametrize("arguments", [["remove", "--index", "I"], ["add"]])
def test_a_command_without_what_it_needs_shows_its_usage(arguments: list[str], command: Command) -> None:
    with pytest.raises(SystemExit) as error:
        command("ensemble.index.__main__", *arguments)
    assert error.value.code == 2


@pytest.mark.parametrize("arguments", [["burn"], []])
def test_without_a_name_of_a_command_usage_is_shown(arguments: list[str], command: Command) -> None:
    code, _, errors = command("ensemble.index.__main__", *arguments)
    assert code == 2
    assert all(f"python -m ensemble.index {name}" in errors for name in ("add", "remove", "query", "rebuild"))


@pytest.mark.fault(36)
def test_images_that_are_named_and_not_found_are_counted(call: Call, tables: Path, tmp_path: Path) -> None:
    listings = pd.read_csv(tables / "gone.csv", dtype=str).assign(image="nowhere.jpg")
    listings.to_csv(tmp_path / "named.csv", index=False)
    code, output = call("add", "--data", tmp_path / "named.csv", "--data.image_column=image")
    assert (code, "cannot be used 9 · no image folder 9" in output) == (0, True)


@pytest.mark.fault(19)
def test_an_index_of_another_matcher_an_altered_and_a_held_one_are_refused(
    call: Call, titles_alone: Matcher, tables: Path, tmp_path: Path
) -> None:
    add = ["add", "--data", tables / "old.csv"]
    assert call(*add)[0] == 0
    assert "was made with another tfidf.words" in call(*add, "--tfidf.words=2")[1]
    with pytest.raises(MatcherError, match="another bundle"):
        Index.open(tmp_path / "I", titles_alone, made_with="another")
    with Snapshots(tmp_path / "I").locked():
        assert "in use by process" in call(*add)[1]
    code, output = call("remove", "--ids", tables / "new.csv")
    assert (code, "is not in the index" in output) == (2, True)
    path = tmp_path / "I" / "000001" / "image" / "embeddings.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    code, output = call(*add)
    assert (code, "checksum" in output) == (3, True)
