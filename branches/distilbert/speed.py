"""How fast titles are embedded and trained on, beside the network alone."""

from branches.distilbert import embed, train

if __name__ == "__main__":
    from branches.benchmark import main_speed

    raise SystemExit(main_speed("distilbert", train, embed))
