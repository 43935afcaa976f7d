from collections.abc import Callable

import numpy as np
import pytest

from ensemble.explain.reasons import reasons
from ensemble.pool_views import BranchView, PoolViews
from shared.schema import Catalog, Embeddings
from shared.search.exact import nearest

MakeCatalog = Callable[..., Catalog]


def told(listings: Catalog, **cosines: float) -> str:
    """What is said of the first two listings, with branches that find them so similar."""
    views = {}
    for name, cosine in cosines.items():
        vectors = np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], dtype=np.float32)
        embeddings = Embeddings(vectors, np.array([True, True]))
        views[name] = BranchView(embeddings, nearest(embeddings, 1, np))
    return reasons(PoolViews(listings, views), 0, 1)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Tas Ransel", "tas  ransel", "equal titles"),
        ("susu bubuk 500 ml", "susu cair 0.5 L", "titles 53 % alike · both say 500 ml"),
        ("iphone a1234 hitam", "iphone b777 hitam", "titles 74 % alike · model number differs · both say black"),
        ("susu ½ kg", "susu 0.5 kg", "titles 70 % alike · both say 500 g"),
        ("kaos 2 pcs", "kaos 3 pcs", "titles 90 % alike · quantity differs"),
        ("Tea 100 g isi 2 pcs", "Tea 100 g isi 3 pcs", "titles 94 % alike · both say 100 g · another quantity differs"),
        ("Tea 100 g", "Tea 250 ml", "titles 59 % alike"),
        ("TV 55 inch", "TV 139 cm", "titles 47 % alike"),
        ("Tea 100 g 2 pcs", "Tea 100 g", "titles 73 % alike · both say 100 g"),
        ("tas", None, ""),
        ("tas", "...", ""),
    ],
)
def test_titles_are_told_apart_in_words(one: str, other: str | None, said: str, make_catalog: MakeCatalog) -> None:
    assert told(make_catalog([one, other])) == said
    assert told(make_catalog([other, one])) == said


def test_pictures_and_their_hashes_are_told(make_catalog: MakeCatalog) -> None:
    listings = make_catalog([None, None], phash=[0b1011, 0b0001], image_sha=["x", "y"])
    assert told(listings, looks=0.6, phash=0.9) == "looks 0.60 · hashes 2 bits apart"
    assert told(make_catalog([None, None], phash=[8, 0])) == "hashes 1 bit apart"
    assert told(make_catalog([None, None], phash=[1, 1], image_sha=["x", "x"])) == "the same image"
    assert told(make_catalog([None, None], phash=[1, None])) == ""
