"""What each part of the image encoder's recipe is worth."""

from branches.ablation import COMMON, Variants, main_ablate

VARIANTS: Variants = {
    **COMMON,
    "negative margin 0.5": {"negative_margin": 0.5},
    "no augmentation": {"augmentation": 0.0},
    "average pooling": {"pooling": "avg"},
    "every stage trained": {"frozen_stages": 0},
    "half the learning rates": {"learning_rate": 1.5e-4, "head_learning_rate": 5e-4},
    "twice the learning rates": {"learning_rate": 6e-4, "head_learning_rate": 2e-3},
    "8 epochs": {"epochs": 8},
    "embedded without its mirror image": {"mirror": False},
    "embedded at 128 px": {"embed_size": 128},
    "embedded at 224 px": {"embed_size": 224},
}

if __name__ == "__main__":
    raise SystemExit(main_ablate("image", VARIANTS))
