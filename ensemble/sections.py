"""All sections of the settings put together. No stage reads this module, so another section does no stage again."""

from branches import registry
from ensemble.config import EnsembleConfig, ReviewConfig, ScorerConfig, StartConfig, TuneConfig
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.demo.config import DemoConfig


def sections() -> dict[str, type[ConfigSection]]:
    """Return all sections of the settings by name, in the order in which `--help` shows them."""
    before: dict[str, type[ConfigSection]] = {"data": DataConfig, "demo": DemoConfig, "split": SplitConfig}
    own: dict[str, type[ConfigSection]] = {
        "ensemble": EnsembleConfig,
        "scorer": ScorerConfig,
        "tune": TuneConfig,
        "start": StartConfig,
        "review": ReviewConfig,
    }
    return {**before, **registry.sections(), **own, "compute": ComputeConfig}
