"""What each part of the title encoder's recipe is worth."""

from shared.ablation import Variants, main_ablate

VARIANTS: Variants = {
    "not trained": {"epochs": 0, "extra": []},
    "the catalogue's own labels alone": {"extra": []},
    "embeddings not whitened": {"whitened": False},
    "no memory": {"memory": 0},
    "memory of 256": {"memory": 256},
    "memory of 4,096": {"memory": 4096},
    "memory matched to the batch (XBN)": {"adapt_memory": True},
    "no mining": {"mining_epsilon": None},
    "negative margin 0": {"negative_margin": 0.0},
    "negative margin 0.3": {"negative_margin": 0.3},
    "margin ramp": {"margin_ramp": 0.5},
    "multi-similarity loss": {"loss": "multi_similarity"},
    "ArcFace": {"loss": "arcface"},
    "dropout 0.1": {"dropout": 0.1},
    "half the learning rate": {"learning_rate": 5e-5},
    "twice the learning rate": {"learning_rate": 2e-4},
    "2 epochs": {"epochs": 2},
    "6 epochs": {"epochs": 6},
    "a tenth for validation": {"validation": 0.1},
}

if __name__ == "__main__":
    raise SystemExit(main_ablate("distilbert", VARIANTS))
