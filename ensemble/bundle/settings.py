"""The settings that a bundle was made with, which hold wherever it matches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from branches import registry
from ensemble.bundle.archive import Bundle
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.sections import sections
from shared.config import weights_fields
from shared.errors import MatcherError
from shared.pipeline.run import remembered
from shared.pipeline.settings import Settings


def check_bundled(bundle: Bundle, settings: Settings) -> None:
    """Refuse settings of what was trained and tuned that differ from those of a bundle: they would have no effect.

    Data to learn from beside the catalog (`extra`) is not compared, nor a folder of pretrained weights, since no bundle
    says what they were.

        check_bundled(Bundle(Path("my-bundle")), settings)

    Args:
        bundle: The bundle.
        settings: Of what matches with it, all sections.

    Raises:
        MatcherError: A setting differs.
    """
    made = dict(_fixed(Settings(remembered(bundle.folder), sections())))
    for name, value in _fixed(settings):
        if value != made.get(name, value):
            own = _in_words(made[name])
            raise MatcherError(
                f"{bundle.folder} was made with {name}={own}, not {_in_words(value)}, and matches as it was made: give "
                f"--{name}={own} (a run remembers what it was given), or change it in the run of the bundle "
                "(./run_all.sh --run RUN) and pack that again"
            )


def _fixed(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Return the names and values of the settings of scorer and decision, and of how encoders are trained."""
    for section, config in (("ensemble", EnsembleConfig), ("scorer", ScorerConfig), ("tune", TuneConfig)):
        yield from ((f"{section}.{key}", value) for key, value in settings[config].cache_key().items())
    for name in [name for name in settings[EnsembleConfig].branches if registry.get(name).learns]:
        branch = registry.get(name).Config
        keys, weights = settings[branch].cache_key("train"), weights_fields(branch)
        unknown = {"extra", *(key for key in weights if Path(str(keys[key])).is_absolute())}
        yield from ((f"{name}.{key}", value) for key, value in keys.items() if key not in unknown)


def _in_words(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)
