"""The state of a training in one safetensors file: tensors, and JSON values in its header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from shared.artifacts import atomic_file


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON values atomically: to a temporary file, which then takes the place of `path`.

    The same content gives the same bytes.

    Args:
        path: The file to write.
        tensors: Tensors of any device and layout, by name.
        facts: JSON-compatible values.
    """
    contiguous = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    about = {
        "about": json.dumps({"facts": dict(facts), "sha256": _digest(contiguous)})
    }  # one entry: their order varies
    with atomic_file(path) as partial:
        save_file(contiguous, partial, about)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the JSON values that `save_tensors` wrote.

    Raises:
        ValueError: The file is truncated, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}") from error
    if about.get("sha256") != _digest(tensors):
        raise ValueError(f"{path}: its checksum does not match its content")
    return tensors, about["facts"]


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
