"""How fast pictures are embedded and trained on, beside the network alone."""

from branches.image import embed, train

if __name__ == "__main__":
    from branches.benchmark import main_speed

    raise SystemExit(main_speed("image", train, embed))
