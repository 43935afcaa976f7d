"""The demo marketplace is reproducible, shaped like the competition's data, and written whole or not at all."""

import csv
import hashlib
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
import psutil
import pytest
from PIL import Image

from shared.demo import make_demo, market
from shared.demo.__main__ import main
from shared.demo.drawing import FORMS, draw, look_of
from shared.demo.plan import GAP_SHARES, FamilyPlan, plan_families
from shared.demo.products import Product, sample_family
from shared.demo.titles import UNITS, amount_text, official_title
from shared.demo.words import KINDS
from shared.errors import MatcherError

LISTINGS, SEED = 120, 3
HEADER = ["posting_id", "image", "image_phash", "title", "label_group"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "market"
    make_demo(out, LISTINGS, SEED)
    return out


@pytest.fixture(scope="module")
def rows(demo: Path) -> list[dict[str, str]]:
    return read_rows(demo)


@pytest.fixture(scope="module")
def plans() -> list[FamilyPlan]:
    return plan_families(5000, 0)


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def family(members: int, differ_by: str) -> list[Product]:
    """The first family of so many products that differ in their amount, or in their option."""
    for seed in range(1000):
        products = sample_family(members, np.random.default_rng(seed))
        if len({getattr(product, differ_by) for product in products}) == members:
            return products
    raise AssertionError(f"no family of {members} differs by {differ_by}")


# The same bytes


@pytest.mark.fault(25)
def test_same_bytes_for_any_workers(demo: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "two", LISTINGS, SEED, workers=2)
    assert digest(tmp_path / "two") == digest(demo)


@pytest.mark.fault(25)
def test_same_bytes_for_any_hash_seed(tmp_path: Path) -> None:
    for hash_seed in "1", "2":
        command = [sys.executable, "-m", "shared.demo", "--out", str(tmp_path / hash_seed), "--listings", "30"]
        subprocess.run([*command, "--workers", "1"], check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_other_seed_other_marketplace(demo: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "other", LISTINGS, SEED + 1)
    ours, theirs = read_rows(demo), read_rows(tmp_path / "other")
    assert not {row["title"] for row in ours if row["title"]} & {row["title"] for row in theirs if row["title"]}
    assert {row["image"] for row in ours} != {row["image"] for row in theirs}


# The table


def test_columns_and_rows(demo: Path, rows: list[dict[str, str]]) -> None:
    assert (demo / "train.csv").read_text(encoding="utf-8").splitlines()[0].split(",") == HEADER
    assert len(rows) == LISTINGS
    assert [row["posting_id"] for row in rows] == [f"demo_{number:06d}" for number in range(LISTINGS)]
    assert all(row["label_group"].isdigit() for row in rows)


def test_images_are_thumbnails(demo: Path) -> None:
    files = sorted((demo / "train_images").iterdir())
    for path in files:
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 160 <= max(image.size) <= 256
    assert 4_000 < np.mean([path.stat().st_size for path in files]) < 15_000


def test_every_image_file_is_listed(demo: Path, rows: list[dict[str, str]]) -> None:
    listed = {row["image"] for row in rows}
    assert {path.name for path in (demo / "train_images").iterdir()} <= listed


def test_phash_column(demo: Path, rows: list[dict[str, str]]) -> None:
    compared = 0
    for row in rows:
        path = demo / "train_images" / row["image"]
        if path.is_file():
            with Image.open(path) as image:
                assert row["image_phash"] == str(imagehash.phash(image))
            compared += 1
    assert compared > 0.9 * LISTINGS


def test_gaps_in_image_or_title(demo: Path, rows: list[dict[str, str]]) -> None:
    no_image = [row for row in rows if not row["image"]]
    lost = [row for row in rows if row["image"] and not (demo / "train_images" / row["image"]).exists()]
    no_title = [row for row in rows if not row["title"]]
    assert no_image
    assert lost
    assert no_title
    assert all(row["title"] for row in no_image + lost)
    assert all(len(row["image_phash"]) == 16 for row in lost)
    assert all(row["image_phash"] == "" for row in no_image)


def test_groups_share_files_and_differ_in_titles(rows: list[dict[str, str]]) -> None:
    groups = defaultdict(list)
    for row in rows:
        groups[row["label_group"]].append(row)
    copied = sum(len({row["image"] for row in group}) < len(group) for group in groups.values())
    reworded = sum(len({row["title"] for row in group}) > 1 for group in groups.values())
    assert 0.05 < copied / len(groups) < 0.8
    assert reworded / len(groups) > 0.8


# The plan


def test_group_sizes_follow_the_competition(plans: list[FamilyPlan]) -> None:
    sizes = [len(rows) for plan in plans for rows in plan.rows]
    assert sum(sizes) == 5000
    assert min(sizes) == 2
    assert 30 < max(sizes) <= 51
    assert np.mean(np.equal(sizes, 2)) == pytest.approx(0.65, abs=0.03)
    assert np.mean(sizes) == pytest.approx(3.1, abs=0.3)


@pytest.mark.parametrize("listings", [*range(2, 60), 333, 1500])
def test_every_row_is_planned_once(listings: int) -> None:
    plans = plan_families(listings, 0)
    rows = [row for plan in plans for group in plan.rows for row in group]
    assert sorted(rows) == list(range(listings))
    assert all(2 <= len(group) <= 51 for plan in plans for group in plan.rows)
    labels = [label for plan in plans for label in plan.labels]
    assert len(set(labels)) == len(labels)


def test_row_order_is_independent_of_groups(plans: list[FamilyPlan]) -> None:
    neighbors = sum(abs(group[0] - group[1]) < 50 for plan in plans for group in plan.rows)
    groups = sum(len(plan.rows) for plan in plans)
    assert neighbors / groups < 0.04  # 0.02 by chance


def test_half_of_the_products_have_siblings(plans: list[FamilyPlan]) -> None:
    members = [len(plan.labels) for plan in plans]
    assert set(members) == {1, 2, 3, 4}
    assert 0.4 < sum(count for count in members if count > 1) / sum(members) < 0.6


def test_gap_shares(plans: list[FamilyPlan]) -> None:
    gaps = Counter(gap for plan in plans for gap in plan.gaps.values())
    assert gaps == {gap: round(5000 * share) for gap, share in GAP_SHARES.items()}


# The products


def test_size_siblings_look_the_same() -> None:
    first, *others = family(3, "amount")
    for other in others:
        assert replace(other, amount=first.amount) == first
        assert draw(look_of(other)).tobytes() == draw(look_of(first)).tobytes()


def test_color_siblings_look_different() -> None:
    first, *others = family(3, "option")
    for other in others:
        assert replace(other, option=first.option) == first
        assert draw(look_of(other)).tobytes() != draw(look_of(first)).tobytes()


@pytest.mark.parametrize("differ_by", ["amount", "option"])
def test_titles_of_siblings(differ_by: str) -> None:
    products = family(2, differ_by)
    named = {official_title(product, (1, 2), names_option=True, names_amount=True) for product in products}
    unnamed = {official_title(product, (1, 2), names_option=False, names_amount=False) for product in products}
    assert (len(named), len(unnamed)) == (2, 1)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_form_fills_drawing(form: str) -> None:
    product = family(1, "style")[0]
    product = replace(product, kind=product.kind._replace(form=form))
    for style in range(5):
        drawing = draw(look_of(replace(product, style=style)))
        share = np.mean(np.asarray(drawing.getchannel("A")) > 0)
        assert max(drawing.size) > 150
        assert 0.12 < share < 1.01


def test_amount_text_forms() -> None:
    rng = np.random.default_rng(0)
    assert {amount_text(500, "ml", rng) for _ in range(200)} >= {"500ml", "500 ml", "500 ML", "0.5L", "0.5 L"}
    assert {amount_text(2, "pcs", rng) for _ in range(200)} >= {"2pcs", "isi 2"}
    assert {kind.unit for kind in KINDS} - {""} == set(UNITS)


# The command


def test_command_prints_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "market"
    assert main(["--out", str(out), "--kind", "marketplace", "--listings", "12", "--seed", "1", "--workers", "1"]) == 0
    groups = len({row["label_group"] for row in read_rows(out)})
    said = capsys.readouterr().out
    assert said.startswith(f"12 listings of {groups} products written to {out} (")
    assert os.listdir(out.parent) == ["market"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "marketplace", "--listings", "1"], "at least 2 listings, not 1"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--workers", "0"], "workers at least 1"),
    ],
)
def test_bad_arguments_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.fault(34)
def test_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--listings", "4"]) == 2
    assert f"{tmp_path} exists and is not an empty folder" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_empty_folder_is_used(tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    make_demo(out, 2, 0)
    assert len(read_rows(out)) == 2


def test_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "shared.demo", "--out", str(tmp_path / "file" / "out"), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write to ")
    assert "Traceback" not in done.stderr


@pytest.mark.fault(17)
def test_what_a_killed_demo_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as killed:
        killed.setattr("shared.folders.shutil.rmtree", lambda *_, **__: None)  # nobody tidies up after a kill
        killed.setattr(market, "_write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_demo(out, 2, 0)
    assert len(os.listdir(tmp_path)) == 1
    make_demo(out, 2, 0)  # by a process of the same number, as in a new container
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.fault(18)
@pytest.mark.parametrize(("fault", "code"), [(OSError(28, "No space left on device"), 2), (KeyboardInterrupt(), 130)])
def test_failure_midway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(market, "_write_table", fail)
    assert main(["--out", str(tmp_path / "out"), "--listings", "4", "--workers", "1"]) == code
    assert os.listdir(tmp_path) == []


def test_make_demo_raises_matcher_error(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match="at least 2 listings, not 0"):
        make_demo(tmp_path / "out", 0, 0)


@pytest.mark.slow
@pytest.mark.fault(30)
def test_killed_worker_is_an_error_and_no_hang(tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "shared.demo",
        "--out",
        str(tmp_path / "out"),
        "--listings",
        "20000",
        "--workers",
        "2",
    ]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not list(tmp_path.rglob("*.jpg")):
            time.sleep(0.05)
        workers = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
        workers[0].kill()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2
    assert errors == "error: a worker process was killed, perhaps for lack of memory; try fewer workers\n"
    assert list(tmp_path.iterdir()) == []
