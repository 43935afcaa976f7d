"""Tables of every format: values stay as written, and what is no table is refused."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog.cells import is_missing
from tests.support.listings import ENDINGS, fault_of, read, rows_of, write

AWKWARD_IDS = [
    "001",
    "1",
    "1e5",
    "NA",
    "nan",
    "None",
    "true",
    " a b ",
    "a",
    "1.0",
    "-0",
    "🛒",
    "é",
    "x" * 300,
    '"q"',
    "=1+1",
]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@pytest.mark.fault(1)
@pytest.mark.parametrize("ending", ENDINGS)
def test_values_stay_as_written(ending: str, tmp_path: Path) -> None:
    rows = [
        {**row, "title": f"{row['posting_id']} title", "label_group": row["posting_id"]}
        for row in rows_of(*AWKWARD_IDS)
    ]
    catalog = read(write(tmp_path / f"train{ending}", rows))
    assert catalog.ids.tolist() == AWKWARD_IDS
    assert catalog.labels.tolist() == [None if is_missing(label) else label.strip() for label in AWKWARD_IDS]
    assert catalog.titles.tolist() == [f"{i} title" for i in AWKWARD_IDS]


@pytest.mark.fault(1)
@given(rows=st.lists(st.tuples(TEXT.filter(str.strip), TEXT), min_size=1, max_size=5, unique_by=lambda row: row[0]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_any_text_survives(ending: str, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    table = write(tmp_path / f"t{ending}", [{"posting_id": i, "title": t} for i, t in rows], ["posting_id", "title"])
    catalog = read(table, labeled=False)
    assert catalog.ids.tolist() == [i for i, _ in rows]
    assert catalog.titles.tolist() == ["" if t.strip() and is_missing(t) else t for _, t in rows]


@pytest.mark.fault(2)
def test_byte_order_mark_line_ends_quotes_and_long_fields(tmp_path: Path) -> None:
    long = "x" * 300_000
    text = f'posting_id,title,label_group\r\n1,"two\r\nlines, ""quoted""",a\r\n\r\n2,{long},a\r\n3,5" pipe,b'
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    catalog = read(tmp_path)
    assert catalog.ids.tolist() == ["1", "2", "3"]
    assert catalog.titles.tolist() == ['two\r\nlines, "quoted"', long, '5" pipe']


@pytest.mark.fault(1)
def test_numbers_of_typed_formats(tmp_path: Path) -> None:
    table = pa.table({"posting_id": [1, 2, 3], "title": [1.5, None, float("nan")], "label_group": [7.0, 8.0, 1e5]})
    pq.write_table(table, tmp_path / "train.parquet")
    catalog = read(tmp_path)
    assert catalog.ids.tolist() == ["1", "2", "3"]
    assert catalog.titles.tolist() == ["1.5", "", ""]
    assert catalog.labels.tolist() == ["7", "8", "100000"]
    line = '{"posting_id": 12345678901234567890, "title": 1e5, "label_group": 1.0}'
    (tmp_path / "t.jsonl").write_text(line + '\n\n{"posting_id": true, "label_group": -0}\n')
    catalog = read(tmp_path / "t.jsonl")
    assert catalog.ids.tolist() == ["12345678901234567890", "true"]
    assert catalog.titles.tolist() == ["1e5", ""]
    assert catalog.labels.tolist() == ["1.0", "-0"]


@pytest.mark.fault(2)
def test_an_unclosed_quote_says_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text('posting_id,title,label_group\n1,a,g\n2,"b,g\n3,c,g\n4,d,g\n')
    assert "row 2: broken quotes from line 3 on" in fault_of(tmp_path)


@pytest.mark.fault(2)
def test_latin_1_names_byte_and_rows(tmp_path: Path) -> None:
    text = "posting_id,title,label_group\n1,ok,g\n2,Café,g\n3,ok,g\n4,Señor,g\n"
    (tmp_path / "train.csv").write_bytes(text.encode("latin-1"))
    message = fault_of(tmp_path)
    assert "2 faults" in message
    assert "row 2: byte 0xe9 is not UTF-8 in title 'Caf�'" in message
    assert "row 4: byte 0xf1 is not UTF-8" in message
    message.encode()


def test_half_a_surrogate_pair_in_json(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"posting_id": "a\\ud83d", "title": "\\ud83d\\ude00", "label_group": "g"}')
    message = fault_of(tmp_path)
    assert "1 fault\n" in message
    assert "row 1: half a surrogate pair in posting_id" in message


@pytest.mark.fault(2)
def test_broken_json_lines(tmp_path: Path) -> None:
    good = json.dumps(rows_of("a")[0])
    (tmp_path / "train.jsonl").write_text(f'{good}\n{{"posting_id": \n[1, 2]\n{"[" * 100_000}\n{good}\n')
    message = fault_of(tmp_path)
    for part in (
        "4 faults",
        "row 2: not JSON",
        "row 3: not a JSON object",
        "row 4: nested too deep",
        "row 5: id 'a' stands in",
    ):
        assert part in message


@pytest.mark.fault(2)
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows(ending: str, tmp_path: Path) -> None:
    write(tmp_path / f"train{ending}", [])
    assert ("the file is empty" if "jsonl" in ending else "no rows") in fault_of(tmp_path)


@pytest.mark.fault(2)
def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    assert "the file is empty" in fault_of(tmp_path)


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", ["train.csv.gz", "train.parquet"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    data = write(tmp_path / name, rows_of(*map(str, range(100)))).read_bytes()
    for damaged in (b"", b"not at all", data[: len(data) // 2]):
        (tmp_path / name).write_bytes(damaged)
        assert "cannot be read" in fault_of(tmp_path) or damaged == b""


@pytest.mark.fault(5)
def test_a_fifo_for_a_table_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.csv")
    assert "not a regular file" in fault_of(tmp_path)
