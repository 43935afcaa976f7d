"""The report's file in a run folder, which is written again only if something changed."""

from __future__ import annotations

from pathlib import Path

from ensemble.report.page import html
from ensemble.report.run_content import is_measured, run_content
from ensemble.written_matches import METRICS, REPORT
from shared.artifacts import atomic_file, digest, file_digest
from shared.pipeline.run import ABLATION, RunFolder
from shared.pipeline.settings import Settings

_KEY_BYTES = 1000  # at the beginning of the file, which hold its key
_CODE = ("report/*.py", "report/templates/*", "explain/*.py")  # which the report is made by


def write_report(run: RunFolder, settings: Settings, *, force: bool = False) -> Path:
    """Write the report of a finished run, and return its path.

        write_report(RunFolder(Path("runs/default")), settings)

    Args:
        run: The run.
        settings: Its settings.
        force: Whether to write it even if nothing changed.

    Raises:
        ArtifactError: The run has no matches, or a file of it is missing or altered.
    """
    path, key = run.folder / REPORT, key_of(run, settings)
    if not force and path.is_file() and key.encode() in _beginning(path):
        return path
    page = html(run_content(run, settings), key)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def key_of(run: RunFolder, settings: Settings) -> str:
    """Return the digest of all that the report of a run is made from, but for the files of the images."""
    code = sorted(path for pattern in _CODE for path in Path(__file__).parents[1].glob(pattern))
    ablation = run.folder / "ensemble" / ABLATION / "ablation.json"
    metrics = run.folder / METRICS  # hold what answers say of the matches, where no stage measures them
    return digest(
        {
            "stages": run.manifests(),
            "settings": settings.values,
            "code": [file_digest(path) for path in code],
            "ablation": file_digest(ablation) if ablation.exists() else None,
            "metrics": file_digest(metrics) if metrics.exists() and not is_measured(run) else None,
        }
    )


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_KEY_BYTES)
