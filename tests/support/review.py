"""Reviews of a few listings, made in memory, whose matches follow the answers at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from starlette.testclient import TestClient

from ensemble.answers.file import FILE, AnswerFile
from ensemble.decision.decision import Decision
from ensemble.review.security import CSRF_HEADER
from ensemble.review.session import Matched, Subject
from shared.schema import Catalog, PairFeatures, ScoredPairs, pair_key
from tests.support.catalogs import WORDS

HOST = "127.0.0.1:8123"
HEADERS = {"Origin": f"http://{HOST}", CSRF_HEADER: "csrf"}  # of a request that changes something
Open = Callable[..., TestClient]
HOSTILE = [
    "</script><script>window.hostile = 1</script>",
    '"><img src=x onerror="window.hostile = 1">',
    "{{ 7 * 7 }} ${7 * 7} <b>bold</b>",
    "شاحن جداري سريع 20 واط",
    "ครีมกันแดด 50 มล. แพ็ค 2",
    "洗发水500毫升 两瓶装",
    "\u202egnirts desrever",
    "x" * 300,
]


def numbered_titles(n: int, seed: int = 0) -> list[str]:
    """Return titles of words and a number, so that no two are equal; the first ones are hostile or of other scripts."""
    rng = np.random.default_rng(seed)
    return [*HOSTILE, *(f"{' '.join(rng.choice(WORDS, 5))} nr {row}" for row in range(n - len(HOSTILE)))][:n]


def random_pairs(n: int, count: int, seed: int = 0) -> tuple[PairFeatures, ScoredPairs]:
    """Return so many pairs of n listings, about half a pair per listing of which are likely matches."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, n, (count, 2)), axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]]
    ends = ends[np.unique(pair_key(ends[:, 0], ends[:, 1], n), return_index=True)[1]].astype(np.int32)
    is_likely = rng.random(len(ends)) < n / (2 * count)
    score = np.where(is_likely, rng.beta(5, 2, len(ends)), rng.beta(1, 9, len(ends))).astype(np.float32)
    features = pd.DataFrame({"tfidf_cosine": score, "image_cosine": score[::-1].copy()})
    described = PairFeatures(n, ends[:, 0].copy(), ends[:, 1].copy(), features)
    return described, ScoredPairs.of(described, score)


def subject(folder: Path, n: int = 60, pairs: int = 400, **columns: list[object]) -> Subject:
    """Return a review of n listings whose answers lie in a folder."""
    titles = columns.pop("title", numbered_titles(n))
    ids = [f"id{row:05}" for row in range(n)]
    catalog = Catalog.from_columns({"posting_id": ids, "title": titles, **columns}, folder)
    described, start = random_pairs(n, pairs)
    file = AnswerFile(folder / FILE)

    def match() -> Matched:
        decision = Decision("threshold", 0.5)
        matches = decision.decide(start, pins=file.read().on(catalog).pins).matches
        return Matched(matches, f"{len(matches)} matches", start, decision)

    return Subject("test & <b>shop</b>", catalog, described, start, file.path, match, match())
