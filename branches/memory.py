"""What the stages of the branches need in memory."""

from __future__ import annotations

from branches import registry
from shared.compute import ComputeConfig
from shared.memory import PLAIN, TORCH, Need, require_libraries
from shared.pipeline.settings import Settings

PER_LISTING = 20_000  # bytes: its title, tokens and embeddings


def branch_need(stage: str, listings: int, settings: Settings) -> Need | None:
    """Return the memory that a stage of a branch needs beyond the libraries; None for other stages.

    The batches of an encoder that an NVIDIA GPU works on are in the memory of that GPU.

        branch_need("image/encoder/all", 34_250, settings)

    Args:
        stage: Name of the stage.
        listings: Of the whole run.
        settings: Of the run.
    """
    branch, _, kind = stage.partition("/")
    if branch not in registry.names() or kind.partition("/")[0] not in ("encoder", "embeddings"):
        return None
    config, learns = settings[registry.get(branch).Config], registry.get(branch).learns
    if learns:
        require_libraries(TORCH)  # before torch is loaded, which knows whether there is a GPU
    on_gpu = learns and settings[ComputeConfig].torch_device().type == "cuda"
    names = [name for name in ("batch_size", "size", "max_tokens", "embed_batch") if name in type(config).model_fields]
    smaller = " or ".join(f"{branch}.{name}={getattr(config, name)}" for name in names)
    advice = f"less than {smaller}" if names and not on_gpu else "a part of the catalog"
    batch = 0 if on_gpu else config.batch_bytes
    kept = config.kept_bytes(listings) if kind.startswith("encoder") else 0
    return Need(batch + kept + listings * PER_LISTING, advice, TORCH if learns else PLAIN)
