"""Packs the parts of a finished run that matching needs into a bundle: one folder that can be copied anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from branches import registry
from ensemble.bundle.archive import is_bundle, seal
from ensemble.bundle.model_card import model_card
from ensemble.bundle.refit import refitted
from ensemble.config import EnsembleConfig
from ensemble.evaluation.run_metrics import metrics_of
from ensemble.matcher import check_current, matching_files
from ensemble.result_stages import EVALUATION
from ensemble.training_stages import DECISION
from shared.artifacts import write_json
from shared.errors import MatcherError
from shared.folders import atomic_folder
from shared.pipeline.catalog_stages import require_labeled_run
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings, Values, portable


def pack(run: RunFolder, settings: Settings, out: Path, *, refit: bool = False, force: bool = False) -> None:
    """Write the bundle of a run.

        pack(RunFolder(Path("runs/default")), settings, Path("bundle"))

    Args:
        run: A finished run.
        settings: Its settings.
        out: Folder to write. If it exists, it must be empty or a bundle, which the new one replaces.
        refit: Whether to train encoders and scorer on all labeled listings first, those of the holdout too.
        force: Whether to refit again even if nothing changed.

    Raises:
        ArtifactError: The run is not finished, or a part of it is damaged.
        MatcherError: `out` is something else, or cannot be written; or it is a run without labels.
    """
    names = settings[EnsembleConfig].branches
    require_labeled_run(run)
    check_current(run, settings, [DECISION, EVALUATION])
    metrics = measured(run)
    require_place(out)
    source = refitted(run, settings, force=force) if refit else run
    with atomic_folder(out) as folder:
        for stage, files in matching_files(source, names).items():
            for name in files:
                path = folder / stage / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.open(stage) / name, path)
        write_json(folder / "settings.json", portable(settings.values, registry.names()))
        write_json(folder / "metrics.json", metrics)
        (folder / "README.md").write_text(model_card(run, source, settings, metrics), encoding="utf-8")
        versions = (source.manifest(DECISION) or {})["versions"]
        seal(folder, {"branches": names, "refitted": refit, "versions": versions})
        require_place(out)


def measured(run: RunFolder) -> dict[str, Any]:
    """Return the metrics of a run, without the cost of each stage.

    Raises:
        ArtifactError: They are missing.
    """
    return {name: values for name, values in metrics_of(run).items() if name != "stages"}


def require_place(out: Path) -> None:
    """Raise an error unless a bundle may be written to `out`.

    Raises:
        MatcherError: Something else is there.

    Examples:
        >>> require_place(Path("no/such/folder"))
    """
    occupied = out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))
    if occupied and not is_bundle(out):
        raise MatcherError(f"cannot write a bundle to {out}: something else is there; name a new folder")


def require_own(run: RunFolder, settings: Settings, user: str = "a bundle") -> None:
    """Raise an error if settings differ from those that the run was made with.

    Args:
        run: The run.
        settings: Those of a command.
        user: What has to have the settings of the run, for the message.

    Raises:
        MatcherError: A setting differs that is not about the machine.
    """

    def flat(values: Values) -> dict[tuple[str, str], Any]:
        return {
            (section, key): value
            for section, keys in values.items()
            for key, value in keys.items()
            if (section, key) not in (("compute", "device"), ("compute", "threads"))
        }

    if flat(settings.values) != flat(remembered(run.folder)):
        what = f"{user} has the settings of its run; pass other settings to ./run_all.sh first"
        raise MatcherError(f"{what} (only --compute.device and --compute.threads may differ)")
