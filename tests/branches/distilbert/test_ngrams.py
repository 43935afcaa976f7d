import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from branches.distilbert.ngrams import BUCKETS, DIM, FILE, Ngrams
from shared.errors import ArtifactError

WORDS = [
    "tas",
    "ransel",
    "wanita",
    "murah",
    "kabel",
    "data",
    "usb",
    "100ml",
    "iphone",
    "6s",
    "hitam",
    "original",
    "ไทย",
]


@pytest.fixture(scope="module")
def titles():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size=rng.integers(2, 7))) for _ in range(200)]


@pytest.fixture(scope="module")
def ngrams(titles):
    return Ngrams.of(titles)


def test_cosines_are_near_those_of_tfidf(ngrams, titles):
    words = TfidfVectorizer(token_pattern=r"\S+", lowercase=False).fit_transform(titles)
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), lowercase=False).fit_transform(titles)
    exact = ((words @ words.T + chars @ chars.T) / 2).toarray()
    vectors = ngrams.vectors(titles)
    error = (vectors @ vectors.T - exact)[~np.eye(len(titles), dtype=bool)]
    assert vectors.shape == (200, DIM)
    assert abs(error.mean()) < 0.02
    assert error.std() < 1.5 / DIM**0.5


def test_words_of_other_catalogs_count(ngrams):
    vectors = ngrams.vectors(["sepatu boots kulit", "kulit sepatu boots", "tas ransel"])
    assert vectors[0] @ vectors[1] > 0.9
    assert vectors[0] @ vectors[2] < 0.3


def test_rare_terms_count_more(ngrams, titles):
    common = Ngrams.of([*titles, *["kabel data"] * 500])
    pair = ["kabel data 6s", "tas ransel 6s"]
    similar, before = ((v[0] @ v[1]) for v in (common.vectors(pair), ngrams.vectors(pair)))
    assert similar > before + 0.05


def test_vectors_of_a_title_do_not_depend_on_others(ngrams, titles):
    assert (ngrams.vectors(titles)[[17]] == ngrams.vectors([titles[17]])).all()


def test_projection_is_the_same_everywhere():
    vector = Ngrams(np.ones((2, BUCKETS), np.float32)).vectors(["tas ransel"])[0]
    assert np.flatnonzero(vector > 0.15).tolist() == [35, 136, 236, 253]


def test_without_titles():
    ngrams = Ngrams.of([])
    assert (ngrams.idf == 1).all()
    assert ngrams.vectors([]).shape == (0, DIM)
    assert ngrams.beside(np.zeros((0, 3), np.float32), [], 0.5).shape == (0, 3 + DIM)


def test_blocks_give_the_same(ngrams, titles, monkeypatch):
    vectors = ngrams.vectors(titles)
    monkeypatch.setattr("branches.distilbert.ngrams.BLOCK", 7)
    assert (Ngrams.of(titles).vectors(titles) == vectors).all()


def test_load_gives_the_same(ngrams, titles, tmp_path):
    ngrams.save(tmp_path)
    assert (Ngrams.load(tmp_path).vectors(titles) == ngrams.vectors(titles)).all()


@pytest.mark.parametrize(
    "idf",
    [np.ones((2, 8), np.float32), np.ones((2, BUCKETS))]
    + [np.full((2, BUCKETS), value, np.float32) for value in (np.nan, 0, 3e38)],
)
def test_load_other_weights(tmp_path, idf):
    save_file({"idf": idf}, tmp_path / FILE)
    with pytest.raises(ArtifactError, match=r"ngrams\.safetensors is damaged (.*); train the branch again"):
        Ngrams.load(tmp_path)
