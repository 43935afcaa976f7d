"""What a bundle holds, and which runs, settings and places are refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble import Matcher
from ensemble.bundle import pack as packing
from ensemble.bundle.archive import Bundle, seal
from ensemble.bundle.pack import pack
from ensemble.decision.siblings import describe_forbidden
from ensemble.sections import sections
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings

Command = Callable[..., tuple[int, str, str]]
SettingsOf = Callable[[Path], Settings]


def test_bundle_names_no_path_of_the_machine(bundle: Path, data: Path) -> None:
    texts = [path.read_text() for path in bundle.rglob("*") if path.suffix in (".json", ".md", ".txt")]
    assert len(texts) >= 9
    for place in (str(data.parent), "/tmp/", "site-packages", str(Path.home())):
        assert [text[:200] for text in texts if place in text] == []


def test_model_card_holds_the_metrics_of_the_run(bundle: Path, first: tuple[Path, str]) -> None:
    card = (bundle / "README.md").read_text()
    metrics = json.loads((first[0] / "metrics.json").read_text())
    for name, values in {"ensemble": metrics["holdout"], **metrics["branches"]}.items():
        row = next(line for line in card.splitlines() if line.startswith((f"| {name} |", f"| {name} alone |")))
        assert f"| {values['row_f1']:.3f} |" in row
    assert f"in a pool of {metrics['holdout']['pool_size']} listings" in card
    assert f"{metrics['decision']['threshold']:.3f}" in card
    assert "120 labeled listings" in card
    assert re.search(r"\d+% of them are the only listing of their product\. The scorer also learned from pools", card)
    assert re.search(r"Evidence of these listings: \d+% an image, \d+% a title, \d+% an image hash\.", card)
    assert "the training labels hold no siblings that differ in" in card
    assert describe_forbidden(metrics["decision"]["forbid"]) in card
    assert json.loads((bundle / "metrics.json").read_text()) == {k: v for k, v in metrics.items() if k != "stages"}
    assert json.loads((bundle / "settings.json").read_text()).keys() & {"data", "compute"} == set()


def test_packing_again_replaces_the_bundle_by_the_same(
    run: Path, bundle: Path, command: Command, tmp_path: Path
) -> None:
    for _ in range(2):
        code, output, error = command("ensemble.bundle", "--run", run, "--out", tmp_path / "again")
        assert (code, error) == (0, "")
    assert "bundle written to" in output
    assert Bundle(tmp_path / "again").contents == Bundle(bundle).contents
    assert {path.name for path in tmp_path.iterdir()} == {"run", "again"}


def test_run_is_packed_without_its_data(run: Path, without_data: None, bundle: Path, command: Command) -> None:
    code, _, error = command("ensemble.bundle", "--run", run, "--out", run.parent / "out")
    assert (code, error) == (0, "")
    assert Bundle(run.parent / "out").contents == Bundle(bundle).contents


# --- what is refused -------------------------------------------------------------------------------------------------


def test_bundle_of_a_scorer_without_experience_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (copy / "ensemble" / "scorer" / "experience.parquet").unlink()
    (copy / "bundle.json").unlink()
    seal(copy, {})
    with pytest.raises(ArtifactError, match="trained by an older version"):
        Matcher.load(copy)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["ensemble/scorer/first.txt", "image/encoder/all/encoder.safetensors", "README.md"])
def test_altered_bundle_is_refused_before_parsing(name: str, bundle: Path, command: Command, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=f"{name} does not have the checksum"):
        Matcher.load(copy)
    code, _, error = command("ensemble.match", "--bundle", copy, "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 3
    assert name in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "runs/x", "--data", "x", "--out", "y"], "name one of them"),
        (["--data", "x"], "go together"),
        ([], "add --data NEW --out FOLDER"),
    ],
)
def test_options_that_exclude_each_other(arguments: list[str], message: str, bundle: Path, command: Command) -> None:
    code, _, error = command("ensemble.match", "--bundle", bundle, *arguments)
    assert code == 2
    assert message in error
    Bundle(bundle)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tfidf.words=3"], "a bundle has the settings of its run"),
        (["--data", "demo"], "a bundle has the settings of its run"),
    ],
)
def test_settings_that_differ_from_the_run_are_refused(
    arguments: list[str], message: str, first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    code, _, error = command("ensemble.bundle", "--run", first[0], "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


def test_unfinished_run_is_refused(run: Path, tmp_path: Path, settings_of: SettingsOf) -> None:
    shutil.rmtree(run / "ensemble" / "evaluation")
    with pytest.raises(ArtifactError, match="no finished stage 'ensemble/evaluation'"):
        pack(RunFolder(run), settings_of(run), tmp_path / "out")
    with pytest.raises(ArtifactError, match="no finished stage"):
        pack(RunFolder(tmp_path / "nothing"), Settings({}, sections()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_decision_newer_than_its_metrics_is_refused(
    run: Path, command: Command, tmp_path: Path, settings_of: SettingsOf
) -> None:
    assert command("ensemble.tune", "--run", run, "--tune.max_matches=3")[0] == 0
    with pytest.raises(ArtifactError, match="ensemble/decision changed after ensemble/evaluation was made"):
        pack(RunFolder(run), settings_of(run), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_run_that_does_not_fit_its_settings_is_refused(
    run: Path, command: Command, tmp_path: Path, settings_of: SettingsOf, listings: pd.DataFrame
) -> None:
    """Only a part of the run was brought up to date with a new setting."""
    assert command("ensemble.candidates", "--run", run, "--tfidf.neighbors=7")[0] == 0
    with pytest.raises(ArtifactError, match=r"changed after .* was made"):
        pack(RunFolder(run), settings_of(run), tmp_path / "out")
    listings.to_csv(tmp_path / "new.csv", index=False)
    line = ["--run", run, "--data", tmp_path / "new.csv", "--out", tmp_path / "out", "--tune.max_matches=3"]
    code, _, error = command("ensemble.match", *line)
    assert code == 3
    assert "ensemble/decision was made with another tune.max_matches" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.fault(34)
def test_only_a_bundle_is_replaced(
    first: tuple[Path, str], bundle: Path, tmp_path: Path, settings_of: SettingsOf
) -> None:
    run, settings = RunFolder(first[0]), settings_of(first[0])
    (tmp_path / "empty").mkdir()
    pack(run, settings, tmp_path / "empty")
    assert Bundle(tmp_path / "empty").contents == Bundle(bundle).contents
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "new").write_text("new")
    with pytest.raises(MatcherError, match="something else is there"):
        pack(run, settings, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["new"]
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "mine"}


@pytest.mark.fault(17)
def test_killed_packing_leaves_the_earlier_bundle(
    first: tuple[Path, str], bundle: Path, tmp_path: Path, settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    shutil.copytree(bundle, tmp_path / "bundle")
    monkeypatch.setattr(packing, "model_card", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack(RunFolder(first[0]), settings_of(first[0]), tmp_path / "bundle")
    assert Bundle(tmp_path / "bundle").contents == Bundle(bundle).contents
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}
