"""Delimiters, encodings, JSON and Parquet in the forms that they come in, and faults that name their rows."""

import codecs
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shared.catalog.tables.reader
from shared.catalog.config import DataConfig
from shared.catalog.not_used import not_used
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.catalog.tables import Table, TableSettings, frame_table, read_table
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from tests.support.timing import assert_linear

READ = DataConfig().columns
ROWS = "posting_id,title\n1,Sepatu pria 42\n2,Tas wanita\n"


def table_of(path: Path, data: str | bytes, encoding: str = "") -> Table:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_table(path, READ, TableSettings(encoding))


def refusal(path: Path, data: str | bytes, encoding: str = "") -> str:
    with pytest.raises(MatcherError) as error:
        table_of(path, data, encoding)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


# --- CSV -------------------------------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt"])
def test_delimiter_is_found_whatever_the_name(name: str, delimiter: str, tmp_path: Path) -> None:
    text = delimiter.join(["posting_id", "title", "price"]) + "\n"
    text += delimiter.join(["1", '"a;b,c|d\te"', "2.5"]) + "\n" + delimiter.join(["2", "x", "3"]) + "\n"
    columns = table_of(tmp_path / name, text).columns
    assert columns == {"posting_id": ["1", "2"], "title": ["a;b,c|d\te", "x"], "price": ["", ""]}


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id;name, in words\n1;x\n2;6,5\n", ["id", "name, in words"]),  # no name tells: as many cells in each row
        ("sep=|\nposting_id|title\n1|a,b;c\n", ["posting_id", "title"]),
        ("posting_id\n1,5\n", ["posting_id"]),
        (" posting_id ,\ufefftitle\u00a0\n1,a\n", ["posting_id", "title"]),
        ("posting_id;title;\n1;a;\n", ["posting_id", "title", ""]),
    ],
)
def test_header_tells_the_delimiter(text: str, names: list[str], tmp_path: Path) -> None:
    assert list(table_of(tmp_path / "t.csv", text).columns) == names


def test_unknown_delimiter_is_told(tmp_path: Path) -> None:
    faults = table_of(tmp_path / "t.csv", "posting_id^title\n1^a\n").faults
    known = "comma, semicolon, tab, bar"
    assert faults == [(0, f"nothing parts the header 'posting_id^title'; delimiters are {known}; save it with one")]


@pytest.mark.fault(2)
def test_only_columns_that_are_read_must_be_sound(tmp_path: Path) -> None:
    assert table_of(tmp_path / "t.csv", b"posting_id,title,price,price\n1,a,\xff,3\n").faults == []
    assert table_of(tmp_path / "t.csv", "posting_id,title,title\n1,a,b\n").faults == [
        (0, "2 columns are called 'title'")
    ]
    frame = pd.DataFrame([["1", "a", 2, 3]], columns=["posting_id", "title", "price", "price"])
    assert frame_table(frame, READ).faults == []
    path = tmp_path / "t.csv"
    path.write_bytes(b"posting_id,title,label_group,label_group\n1,a,\xff,3\n")
    assert len(read_catalog(find_source(path, DataConfig()), DataConfig(), ComputeConfig(), labeled=False)) == 1


@pytest.mark.parametrize("dictionary", [True, False])
def test_words_of_eight_letters_are_no_hash(dictionary: bool, tmp_path: Path) -> None:
    columns = {"posting_id": ["1", "2", "3"], "title": ["a", "b", "c"], "image_phash": ["no_image", "af48c947", None]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", use_dictionary=dictionary)
    source = find_source(tmp_path / "t.parquet", DataConfig())
    catalog = read_catalog(source, DataConfig(), ComputeConfig(), labeled=False)
    assert catalog.table.column("phash").to_pylist() == [None] * 3
    assert [note["posting_id"] for note in not_used(catalog).to_pylist()] == ["1", "2"]


@pytest.mark.parametrize("hashes", [[1263056646537133, 2**63 + 7], [-5816177608338216693, 1 << 40]])
def test_whole_numbers_are_hashes_whatever_their_digits(hashes: list[int], tmp_path: Path) -> None:
    kind = pa.uint64() if min(hashes) > 0 else pa.int64()
    columns = {"posting_id": ["1", "2"], "title": ["a", "b"], "image_phash": pa.array(hashes, kind)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    source = find_source(tmp_path / "t.parquet", DataConfig())
    catalog = read_catalog(source, DataConfig(), ComputeConfig(), labeled=False)
    assert catalog.phashes.tolist() == [value % 2**64 for value in hashes]


@pytest.mark.fault(31, 36)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_hash_of_any_kind_is_no_fault_of_its_table(name: str, tmp_path: Path) -> None:
    raw = bytes.fromhex("af48c947d86b690b")
    if name == "t.csv":
        (tmp_path / name).write_bytes(b"posting_id,title,image_phash\n1,a,af48c947d86b690b\n2,b,\xff\n")
    elif name == "t.jsonl":
        rows = [{"posting_id": 1, "image_phash": raw.hex()}, {"posting_id": 2, "title": "b", "image_phash": [1]}]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(
            pa.table({"posting_id": ["1", "2"], "title": ["a", "b"], "image_phash": [raw, b"\xff"]}), tmp_path / name
        )
    catalog = read_catalog(find_source(tmp_path / name, DataConfig()), DataConfig(), ComputeConfig(), labeled=False)
    assert catalog.table.column("phash").to_pylist() == [int.from_bytes(raw), None]
    assert [note["posting_id"] for note in not_used(catalog).to_pylist()] == ["2"]


@pytest.mark.fault(2)
def test_quotes_of_a_table_with_tabs_may_stand_for_themselves(tmp_path: Path) -> None:
    text = 'posting_id\ttitle\n1\t"Promo\n2\t"a ""b"""\n3\tTV 55" LED\n4\t5" pipe"\n'
    assert table_of(tmp_path / "t.tsv", text).columns["title"] == ['"Promo', 'a "b"', 'TV 55" LED', '5" pipe"']
    assert table_of(tmp_path / "t.tsv", 'posting_id\ttitle\n1\t"two\nlines"\n').columns["title"] == ["two\nlines"]


@pytest.mark.fault(2)
def test_row_that_swallows_others_is_a_fault(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t.csv", 'posting_id,title\n1,"Promo\n2,lain\n3,TV 55"\n4,"two\nlines, ok"\n')
    fault = "a quote closes only after 3 lines that look like rows; double a quote that is text (line 2)"
    assert table.faults == [(1, fault)]


@pytest.mark.fault(2)
def test_every_ragged_row_is_named(tmp_path: Path) -> None:
    text = "posting_id;title\r1;a;;\r2\r\r3;b;c\rposting_id;title\r5;d\r"
    assert table_of(tmp_path / "t.csv", text).faults == [
        (2, "1 fields where the header has 2, parted by semicolon (line 3)"),
        (3, "3 fields where the header has 2, parted by semicolon (line 5)"),
        (4, "the header once more (line 6)"),
    ]


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_byte_order_mark_tells_the_encoding(name: str, encoding: str, tmp_path: Path) -> None:
    text = ROWS.replace("pria", "pria é 运") if name == "t.csv" else '{"posting_id": 1, "title": "Sepatu pria é 运 42"}'
    for named in ("", "cp1252") if encoding != "utf-8" else ("",):
        assert table_of(tmp_path / name, text.encode(encoding), named).columns["title"][0] == "Sepatu pria é 运 42"
    big = codecs.BOM_UTF16_BE + ROWS.encode("utf-16-be")
    assert table_of(tmp_path / "t.csv", big).columns["title"] == ["Sepatu pria 42", "Tas wanita"]


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("encoding", "title", "advice"),
    [
        ("cp1252", "Café – 42", "cp1252"),
        ("latin-1", "sepatu pria CAFÉ", "cp1252"),
        ("gbk", "运动鞋男 红色", "gb18030"),
        ("shift_jis", "スポーツシューズ", "cp932"),
        ("euc_kr", "운동화 남성", "euc_kr"),
        ("cp1251", "Кроссовки мужские", "cp1251"),
    ],
)
def test_other_encodings_are_named_in_the_setting(encoding: str, title: str, advice: str, tmp_path: Path) -> None:
    data = f"posting_id,title\n1,ok\n2,{title}\n".encode(encoding)
    ((row, fault),) = table_of(tmp_path / "t.csv", data).faults
    assert row == 2
    assert "is not UTF-8 in title '" in fault
    assert f"or say --data.encoding={advice} if {title!r} is right" in fault
    assert table_of(tmp_path / "t.csv", data, encoding).columns["title"] == ["ok", title]
    assert table_of(tmp_path / "t.csv", data, encoding).faults == []


@pytest.mark.fault(2)
def test_utf_16_without_a_mark_names_the_setting(tmp_path: Path) -> None:
    data = ROWS.encode("utf-16-be")
    assert "they look like utf-16-be: say --data.encoding=utf-16-be" in refusal(tmp_path / "t.csv", data)
    assert len(table_of(tmp_path / "t.csv", data, "utf-16-be")) == 2
    assert "is not utf-16-be (truncated data); see --data.encoding" in refusal(
        tmp_path / "t.csv", data[:-1], "utf-16-be"
    )


@pytest.mark.parametrize("encoding", ["rot13", "zip", "undefined", "no such", "a\0b"])
def test_what_is_no_encoding_of_text_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"no encoding of text is called .*; such are cp1252"):
        DataConfig(encoding=encoding)


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.ndjson"])
@pytest.mark.parametrize(
    "form",
    [
        json.dumps,
        lambda rows: json.dumps(rows, indent=1),
        lambda rows: "\ufeff \n" + json.dumps(rows) + "\r\n",
        lambda rows: "\r\n\r\n".join(map(json.dumps, rows)),
        lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows),
    ],
)
def test_json_is_an_array_or_objects(name: str, form: Callable[[Any], str], tmp_path: Path) -> None:
    rows = [{"posting_id": "1", "title": "é"}, {"title": None, "posting_id": 2.50, "more": {"a": [1]}}]
    table = table_of(tmp_path / name, form(rows))
    assert table.columns == {"posting_id": ["1", "2.5"], "title": ["é", ""], "more": ["", ""]}
    assert table.faults == []


@pytest.mark.fault(2, 32)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"posting_id": 1},', "it ends within the array"),
        ('[{"posting_id": 1}, {"po', "row 2 is not JSON"),
        ('[{"posting_id": 1}] x', "there is more behind the array"),
        ('[{"posting_id": ' + "[" * 100_000, "row 1 is nested too deep"),
    ],
)
def test_broken_array_is_one_error(text: str, message: str, tmp_path: Path) -> None:
    assert message in refusal(tmp_path / "t.jsonl", text)


@pytest.mark.fault(2, 32)
@pytest.mark.fault(32)
def test_names_that_stand_twice_in_a_json_row_are_counted_once(tmp_path: Path) -> None:
    def prepare(count: int) -> Callable[[], Table]:
        names = ", ".join(f'"{number}": 0' for number in range(count))
        (tmp_path / f"{count}.jsonl").write_text("{" + names + ", " + names + "}\n")
        return lambda: read_table(tmp_path / f"{count}.jsonl", {"7", "9"})

    expected = [(1, f"'{name}' stands in the object more than once") for name in (7, 9)]
    assert prepare(10)().faults == expected
    assert_linear(prepare, 9_000)


def test_faults_of_json_rows_are_all_named(tmp_path: Path) -> None:
    lines = [
        '{"posting_id": 1, "title": "a", "posting_id": 2}',
        '{"posting_id": ' + "[" * 100_000,
        '{"posting_id": {"0": "a"}, "title": ["x"], "more": 1, "more": 2}',
        '{"posting_id": 4}',
    ]
    assert sorted(table_of(tmp_path / "t.jsonl", "\n".join(lines)).faults) == [
        (1, "'posting_id' stands in the object more than once"),
        (2, "nested too deep"),
        (3, "posting_id holds {'0': 'a'}, which is no text"),
        (3, "title holds ['x'], which is no text"),
    ]


# --- Parquet ---------------------------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Table:
    pq.write_table(pa.table(columns), path)
    return read_table(path, READ, TableSettings())


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["x", None, "y"]).dictionary_encode(), ["x", "", "y"]),
        (pa.array(["x", None, "NA"], pa.large_string()), ["x", "", "NA"]),
        (pa.array([b"x", None, b"y"]), ["x", "", "y"]),
        (pa.array([Decimal("1.50"), None, Decimal("2.00")]), ["1.50", "", "2.00"]),
        (pa.array([date(2024, 1, 2), None, date(2024, 1, 3)]), ["2024-01-02", "", "2024-01-03"]),
        (pa.nulls(3), ["", "", ""]),
        (pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint32()), ["y", "x"]), ["x", "", "y"]),
        (pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint8()), ["y", "x"]), ["x", "", "y"]),
    ],
)
def test_parquet_types_become_text(values: Any, texts: list[str], tmp_path: Path) -> None:
    assert parquet(tmp_path / "t.parquet", posting_id=["1", "2", "3"], title=values).columns["title"] == texts


def test_parquet_encodings_are_read(tmp_path: Path) -> None:
    ids = [str(number) for number in range(600)]
    encodings = {"posting_id": "DELTA_LENGTH_BYTE_ARRAY", "title": "DELTA_BYTE_ARRAY"}
    table = pa.table({"posting_id": ids, "title": ids})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=False, column_encoding=encodings, row_group_size=100)
    assert read_table(tmp_path / "t.parquet", READ).columns == {"posting_id": ids, "title": ids}


@pytest.mark.fault(2)
@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_strings_that_are_not_utf_8(dictionary: bool, tmp_path: Path) -> None:
    offsets = pa.array([0, 2, 6], pa.int32()).buffers()[1]
    bad = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"okCaf\xe9"))
    pq.write_table(
        pa.table({"posting_id": ["1", "2"], "title": bad, "more": bad}),
        tmp_path / "t.parquet",
        use_dictionary=dictionary,
    )
    ((row, fault),) = read_table(tmp_path / "t.parquet", READ, TableSettings()).faults
    assert (row, "byte 0xe9 is not UTF-8 in title 'Caf�'" in fault, "cp1252" in fault) == (2, True, True)
    assert read_table(tmp_path / "t.parquet", READ, TableSettings("cp1252")).columns["title"] == ["ok", "Café"]


@pytest.mark.fault(2)
def test_parquet_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet(path, posting_id=["1"] * 100, title=["x"] * 100)
    data = path.read_bytes()
    for damaged in (data[:-10], b"PAR1" + bytes(40) + data[44:], b"PARE" + data[4:-4] + b"PARE", b"PAR1PAR1"):
        assert "cannot be read" in refusal(path, damaged)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04...", "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0..", "an Excel workbook"),
        (b"PAR1..", "a Parquet file"),
    ],
)
def test_other_files_by_the_name_of_a_table(data: bytes, what: str, tmp_path: Path) -> None:
    assert what in refusal(tmp_path / "t.csv", data)


@pytest.mark.fault(2)
def test_table_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    rows = Table.__init__

    def grown(self: Table, *arguments: Any, **keywords: Any) -> None:
        rows(self, *arguments, **keywords)
        with path.open("a") as file:
            file.write("3,more\n")

    monkeypatch.setattr(Table, "__init__", grown)
    assert "changed while it was read" in refusal(path, ROWS)


def test_out_of_memory_is_no_fault_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(shared.catalog.tables.reader, "read_delimited", fail)
    with pytest.raises(MemoryError):
        table_of(tmp_path / "t.csv", ROWS)
