"""What each part of the title encoder's recipe is worth."""

from branches.ablation import COMMON, Variants, main_ablate

VARIANTS: Variants = {
    **COMMON,
    "negative margin 0.3": {"negative_margin": 0.3},
    "dropout 0.1": {"dropout": 0.1},
    "half the learning rate": {"learning_rate": 5e-5},
    "twice the learning rate": {"learning_rate": 2e-4},
    "6 epochs": {"epochs": 6},
}

if __name__ == "__main__":
    raise SystemExit(main_ablate("distilbert", VARIANTS))
