"""Answers leave and come back as CSV, and become labels."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ensemble.answers.answers import Answers
from ensemble.answers.tables import export, imported, label_groups, write_labels
from shared.catalog.tables import read_table
from shared.errors import MatcherError
from shared.schema import Catalog
from tests.support.answers import answer
from tests.support.catalogs import titled

IDS = ["=1+1", "'=1+1", 'b,"x"', "-c", "d\ne", "f"]
TITLES = ["mug", "red mug", "fan", "lamp", "desk", "pen"]


@pytest.fixture
def catalog() -> Catalog:
    return titled(TITLES, IDS)


@pytest.mark.fault(27)
def test_export_and_import_give_the_same_answers(catalog: Catalog, tmp_path: Path) -> None:
    pairs = [(0, 1, "yes"), (1, 2, "no"), (3, 4, "unsure"), (2, 5, "yes")]
    events = tuple(answer(IDS[a], IDS[b], v, by="@Ann", at=at, catalog=catalog) for at, (a, b, v) in enumerate(pairs))  # type: ignore[arg-type]
    file = tmp_path / "answers.csv"
    assert export(Answers(events), file) == 4
    cells = [cell for column in read_table(file).columns.values() for cell in column]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
    assert sorted(imported(file, [catalog]), key=lambda each: each.at) == list(events)


def test_import_names_all_faults_by_row(catalog: Catalog, tmp_path: Path) -> None:
    rows = ["x,f,yes,Ann,", "f,f,yes,Ann,", "f,-c,maybe,Ann,", "f,-c,yes,,", "f,-c,yes,Ann,yesterday", "f,-c,No,Ann,"]
    file = tmp_path / "answers.csv"
    file.write_text("left,right,verdict,by,at\n" + "\n".join(rows))
    with pytest.raises(MatcherError) as error:
        imported(file, [catalog])
    lines = str(error.value).splitlines()
    assert "5 faults" in lines[0]
    for row, what in enumerate(["x not in the catalog", "about two listings", "yes, no or unsure", "by must", "ISO"]):
        assert f"row {row + 1}: " in lines[row + 1]
        assert what in lines[row + 1] or what == "ISO"
    file.write_text("left,right,verdict\nf,-c,yes\n")
    with pytest.raises(MatcherError, match="no column 'by'"):
        imported(file, [catalog])


def test_import_without_times_is_undone_row_by_row(catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("left,right,verdict,by,at\nf,-c,yes,Ann,\n-c,=1+1,no,Ann,\nf,-c,no,Ann,\n")
    answers = imported(file, [catalog])
    assert [each.at for each in answers] == sorted({each.at for each in answers})
    assert [each.verdict for each in Answers(tuple(answers)).latest] == ["no", "no"]


def test_import_takes_both_listings_from_one_of_several_catalogs(catalog: Catalog, tmp_path: Path) -> None:
    other, file = titled(["ink", "quill"], ["f", "q"]), tmp_path / "answers.csv"
    file.write_text("left,right,verdict,by,at\nf,q,yes,Ann,\n")
    assert len(Answers(tuple(imported(file, [catalog, other]))).on(other)) == 1
    file.write_text("left,right,verdict,by,at\n-c,q,yes,Ann,\n")
    with pytest.raises(MatcherError, match="row 1: both listings must be of one catalog"):
        imported(file, [catalog, other])


def test_labels_are_the_groups_of_yes_answers() -> None:
    ids, titles = list("abcdefghijk"), [*"abcdefghij", "a"]
    labels = [None, None, None, "7", None, "7", "8", "9", None, None, None]
    catalog = titled(titles, ids, label_group=labels)
    said = ["ab yes", "bc yes", "cd no", "de yes", "gh yes", "ij yes", "ai no", "ij unsure"]
    events = tuple(answer(t[0], t[1], t[3:], catalog=catalog, at=at) for at, t in enumerate(said[:-1]))  # type: ignore[arg-type]
    result, left_out = label_groups(catalog, Answers(events).on(catalog))
    assert result == ["a", "a", "a", "7", "7", "7", "8", "9", "i", "i", "a"]
    assert left_out == 1


def test_labels_leave_out_contradicted_groups() -> None:
    catalog = titled(list("abcd"), list("abcd"))
    said = [("a", "b", "yes"), ("b", "c", "yes"), ("a", "c", "no")]
    events = tuple(answer(a, b, verdict, catalog=catalog) for a, b, verdict in said)  # type: ignore[arg-type]
    assert label_groups(catalog, Answers(events).on(catalog)) == ([None] * 4, 1)


def test_answered_group_does_not_take_the_label_of_another_product() -> None:
    ids, labels = ["1", "2", "3", "4", "answers-1", "x"], [None, None, "1", "1", None, None]
    catalog = titled(list("abcdef"), ids, label_group=labels)
    events = answer("1", "2", catalog=catalog), answer("answers-1", "x", catalog=catalog)
    result, left_out = label_groups(catalog, Answers(events).on(catalog))
    assert (result[2:4], left_out) == (["1", "1"], 0)
    assert result[0] == result[1]
    assert result[4] == result[5]
    assert len(set(result)) == 3


@pytest.mark.fault(27)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_labels_make_a_table_to_train_on(ending: str, tmp_path: Path) -> None:
    catalog = titled(["mug", "=fan"], ["a", "b"], phash=[255, None], image=["x/a.jpg", None])
    write_labels(tmp_path / f"table.{ending}", catalog, ["1", None])
    table = read_table(tmp_path / f"table.{ending}").columns
    assert table["title"] == ["mug", "'=fan" if ending == "csv" else "=fan"]
    assert table["image_phash"] == ["00000000000000ff", ""]
    assert table["label_group"] == ["1", ""]
    assert table["image"] == ["x/a.jpg", ""]
    if ending == "parquet":
        assert pq.read_table(tmp_path / "table.parquet").column("label_group").to_pylist() == ["1", None]
