"""A refitted bundle."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ensemble import Matcher
from ensemble.bundle.archive import Bundle
from ensemble.bundle.pack import pack
from ensemble.training_stages import load_decision
from shared.pipeline.pools import load_split
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import ScoredPairs

SettingsOf = Callable[[Path], Settings]


def test_refit_trains_on_all_listings_and_keeps_the_metrics(
    first: tuple[Path, str],
    run: Path,
    bundle: Path,
    listings: pd.DataFrame,
    settings_of: SettingsOf,
    pretrained_weights: None,
    tmp_path: Path,
) -> None:
    def refit() -> dict[str, str]:
        """Pack a refitted run; return what was said of each stage."""
        lines: list[str] = []
        pack(RunFolder(run, say=lines.append), settings_of(run), tmp_path / "out", refit=True)
        return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}

    done = refit()
    described = ("ensemble/features/fold2", "ensemble/thinned/fold2")
    stages = ("split", "pools/fold2", *described, "ensemble/scorer", "ensemble/decision")
    assert done.keys() == {f"refit/{name}" for name in (*stages, "image/encoder/all", "distilbert/encoder/all")}
    assert "unchanged" not in done.values()
    assert set(refit().values()) == {"unchanged"}
    assert (load_split(run / "refit" / "split").fold >= 0).all()
    scored = [len(ScoredPairs.load(run / f"refit/ensemble/scorer/fold{fold}.parquet")) for fold in range(3)]
    assert scored[2] == len(ScoredPairs.load(run / "ensemble/scores/holdout/pairs.parquet"))
    refitted, plain = Bundle(tmp_path / "out"), Bundle(bundle)
    for stage in ("image/encoder/all", "ensemble/scorer", "ensemble/decision"):  # titles keep pretrained weights here
        assert refitted.files(stage) != plain.files(stage)
    assert load_decision(refitted.open("ensemble/decision")).pool_size == round(120 / 3)
    assert refitted.files("ensemble/decision").keys() == {"decision.json"}
    assert refitted.contents["files"]["metrics.json"] == plain.contents["files"]["metrics.json"]
    assert "before it was refitted" in (refitted.folder / "README.md").read_text()
    assert RunFolder(run).manifests() == RunFolder(first[0]).manifests()  # the run is as it was
    assert len(Matcher.load(refitted.folder, device="cpu", threads=1).match(listings[:40]).groups) == 40
