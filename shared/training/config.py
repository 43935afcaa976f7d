"""Settings that every encoder is trained with; a branch adds its own fields and overrides defaults."""

from typing import Annotated, Literal

from pydantic import Field

from shared.config import AffectsFrom, ConfigSection

LossName = Literal["contrastive", "multi_similarity", "softmax", "arcface"]
LOSSES = (
    "the first three compare pairs within the batch and with the memory, multi_similarity and softmax without margins, "
    "softmax without mining; arcface classifies label groups and uses no memory, either"
)


class TrainingConfig(ConfigSection):
    """Fine-tuning with a contrastive loss over the batch and a cross-batch memory (arXiv 1912.06798).

    The strictest negative margin, 0, asks that embeddings of different products be orthogonal. Measured on held-out
    products, 0.3 served images better and 0.5 titles, so these are the defaults.
    """

    extra: list[str] = Field(
        [], description="additional training data: catalogs, title pairs or published data sets; see README"
    )
    epochs: int = Field(4, ge=0, description="passes over the training listings; 0 keeps the pretrained weights")
    batch_size: int = Field(64, ge=4, description="listings per training step")
    listings_per_group: int = Field(2, ge=2, description="listings of one label group drawn together (K of P x K)")
    learning_rate: float = Field(3e-4, ge=0, description="peak learning rate of the pretrained part")
    head_learning_rate: float = Field(1e-3, ge=0, description="peak learning rate of the new layers")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's weight decay")
    warmup: float = Field(0.1, ge=0, le=1, description="share of the steps in which the learning rate rises")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    loss: LossName = Field("contrastive", description=LOSSES)
    temperature: float = Field(
        0.05, gt=0, description="of loss=softmax: cosines are divided by it; a lower one stresses the hardest pairs"
    )
    positive_margin: float = Field(
        1.0, ge=-1, le=1, description="of loss=contrastive: a match with a cosine above this costs nothing"
    )
    negative_margin: float = Field(
        0.3, ge=-1, le=1, description="of loss=contrastive: a non-match with a cosine below this costs nothing"
    )
    margin_ramp: float = Field(
        0.0,
        ge=0,
        le=1,
        description="of loss=contrastive: share of the steps in which the negative margin falls to its value from 1",
    )
    memory_size: float = Field(
        0.75,
        ge=0,
        description="past embeddings compared with each batch: up to 1 a share of the listings of an epoch, which "
        "gives at most 32,768, above 1 a number; 0: the batch alone",
    )
    memory_warmup: float = Field(0.1, ge=0, le=1, description="share of the steps before the memory is used")
    xbn: bool = Field(
        False, description="match the memory's mean and standard deviation to the batch's (XBN, arXiv 2303.17127)"
    )
    miner_epsilon: float | None = Field(
        0.1, ge=0, description="slack of multi-similarity pair mining (arXiv 1904.06627); null: every pair counts"
    )
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training listings set aside, in whole products, to evaluate each epoch; the best "
        "epoch's weights are kept. 0: train on all listings and keep the last weights",
    )
    whitening: Annotated[bool, AffectsFrom("embed")] = Field(
        True, description="PCA-whiten embeddings by the statistics of the training listings"
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="auto takes bfloat16 where the processor computes in it"
    )
    embed_batch: Annotated[int, AffectsFrom("embed")] = Field(64, ge=1, description="listings embedded at a time")
