"""Packs a finished run into a bundle: one folder with what matching needs, to be taken anywhere."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ensemble.bundle.archive import is_bundle, seal
from ensemble.bundle.model_card import model_card
from ensemble.bundle.refit import refitted
from ensemble.config import EnsembleConfig
from ensemble.evaluate import metrics_of
from ensemble.matcher import DECISION, check_current, matching_files
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.cli import command
from shared.pipeline.run import Run, write_json
from shared.pipeline.settings import Settings, Values, portable, remembered

EVALUATION = "ensemble/evaluation"


def pack(run: Run, settings: Settings, out: Path, *, refit: bool = False) -> None:
    """Write the bundle of a run.

    Args:
        run: A finished run.
        settings: Its settings.
        out: Where to. It must not exist, or be an empty folder or a bundle, whose place the new one takes.
        refit: Whether to train encoders and scorer on all labeled listings first, those of the holdout too.

    Raises:
        ArtifactError: The run is not finished, or a part of it is damaged.
        MatcherError: `out` is something else, or cannot be written.
    """
    names = settings[EnsembleConfig].branches
    check_current(run, names)
    metrics = measured(run)
    require_place(out)
    source = refitted(run, settings) if refit else run
    with bundle_at(out) as folder:
        for stage, files in matching_files(source, names).items():
            for name in files:
                path = folder / stage / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.open(stage) / name, path)
        write_json(folder / "settings.json", portable(settings.values))
        write_json(folder / "metrics.json", metrics)
        (folder / "README.md").write_text(model_card(run, source, settings, metrics), encoding="utf-8")
        versions = (source.manifest(DECISION) or {})["versions"]
        seal(folder, {"branches": names, "refitted": refit, "versions": versions})


def measured(run: Run) -> dict[str, Any]:
    """The figures of a run, without the cost of each stage.

    Raises:
        ArtifactError: They are missing, or of an earlier decision.
    """
    run.open(EVALUATION)
    if (run.manifest(EVALUATION) or {})["key"]["inputs"].get("decision") != run.digest_of(DECISION):
        made = "the decision was tuned again after it was measured"
        raise ArtifactError(f"{run.folder}: {made}; ./run_all.sh --run {run.folder} brings the rest up to date")
    return {name: values for name, values in metrics_of(run).items() if name != "stages"}


def require_place(out: Path) -> None:
    """Make sure that a bundle may be written to `out`.

    Raises:
        MatcherError: Something else is there.
    """
    taken = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
    if taken and not is_bundle(out):
        raise MatcherError(f"cannot write a bundle to {out}: something else is there; name a new folder")


@contextmanager
def bundle_at(out: Path) -> Iterator[Path]:
    """A folder to write a bundle into, which takes the place of `out` once it is whole.

    Raises:
        MatcherError: Something else is there, or the place cannot be written.
    """
    out = out.absolute()
    partial, old = (out.with_name(out.name + end) for end in (".partial", ".old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise MatcherError(f"cannot write to {out}: {error.strerror}") from error
    try:
        yield partial
        for place in (out, old):
            require_place(place)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> int:
    """The command `python -m ensemble.bundle`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="folder to write the bundle to")
        what = "train encoders and scorer on all labeled listings first, the holdout too; its figures are kept"
        parser.add_argument("--refit", action="store_true", help=what)

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        _require_own(run, settings)
        run.force = ("",) if arguments.force else ()
        pack(run, settings, arguments.out, refit=arguments.refit)
        size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
        run.say(f"\nbundle written to {arguments.out} ({size / 2**20:,.0f} MB); its README.md says how to use it")

    about = "Pack what matching needs of a finished run into one folder that works anywhere, without a network."
    return command(body, about, ["compute"], usage="python -m ensemble.bundle", options=options)


def _require_own(run: Run, settings: Settings) -> None:
    """Refuse settings that the run was not made with."""

    def flat(values: Values) -> dict[tuple[str, str], Any]:
        return {
            (section, key): value
            for section, keys in values.items()
            for key, value in keys.items()
            if (section, key) not in (("compute", "device"), ("compute", "threads"))
        }

    if flat(settings.values) != flat(remembered(run.folder)):
        what = "a bundle is of a run as it is; give its settings to ./run_all.sh first"
        raise MatcherError(f"{what} (only --compute.device and --compute.threads may differ)")


if __name__ == "__main__":
    raise SystemExit(main())
