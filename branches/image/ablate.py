"""What each part of the image encoder's recipe is worth."""

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
    "negative margin 0.5": {"negative_margin": 0.5},
    "margin ramp": {"margin_ramp": 0.5},
    "multi-similarity loss": {"loss": "multi_similarity"},
    "ArcFace": {"loss": "arcface"},
    "no augmentation": {"augmentation": 0.0},
    "average pooling": {"pooling": "avg"},
    "every stage trained": {"frozen_stages": 0},
    "half the learning rates": {"learning_rate": 1.5e-4, "head_learning_rate": 5e-4},
    "twice the learning rates": {"learning_rate": 6e-4, "head_learning_rate": 2e-3},
    "2 epochs": {"epochs": 2},
    "8 epochs": {"epochs": 8},
    "a tenth for validation": {"validation": 0.1},
    "embedded without its mirror image": {"mirror": False},
    "embedded at 128 px": {"embed_size": 128},
    "embedded at 224 px": {"embed_size": 224},
}

if __name__ == "__main__":
    raise SystemExit(main_ablate("image", VARIANTS))
