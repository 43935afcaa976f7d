"""What titles say of amounts, however people write them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.features.attributes import quantity_conflict
from ensemble.features.quantities import quantities, read_quantities
from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs
from shared.titles import normalize
from shared.units import BASES
from tests.support.timing import at_most
from tests.support.titles import HOSTILE, UNREADABLE, break_titles

READ = {
    # fractions
    "1/2 kg": "mass:500",
    "½ kg": "mass:500",
    "½kg": "mass:500",
    "1 / 2 kg": "mass:500",
    "¼ l": "volume:250",
    "3/4 liter": "volume:750",
    "1 1/2 l": "volume:1500",
    "1½ l": "volume:1500",
    "1 ½ L": "volume:1500",
    "1-1/2 inch": "length:3.81",
    "3/16 inch": "length:0.476",
    "⅓ kg": "mass:333",
    "1/2 lusin": "count:6",
    "12/12/2023 5 kg": "mass:5000",
    # amounts to choose from
    "250/500 ml": "volume:250 volume:500",
    "100/250/500ml": "volume:100 volume:250 volume:500",
    "100g/200g": "mass:100 mass:200",
    "10/20 pcs": "count:10 count:20",
    "1/2 pcs": "count:1 count:2",
    "3/32 GB": "memory:3 memory:32",
    "1 TB": "memory:1024",
    "512MB": "memory:0.5",
    "1024 GB": "memory:1024",
    "6/128GB": "memory:6 memory:128",
    # thousands and decimals
    "1.500 gr": "mass:1500",
    "1,500 ml": "volume:1500",
    "1.500ml": "volume:1500",
    "12.500 mAh": "charge:12500",
    "1.000 kg": "",
    "1,000 l": "",
    "10.000 m": "",
    "1.000 g": "mass:1000",
    "10,000 ml": "volume:10000",
    "1.5 kg": "mass:1500",
    "1,5 l": "volume:1500",
    "1.500 kg": "mass:1500",
    "2,345 kg": "mass:2340",
    "0.500 kg": "mass:500",
    "0,250 l": "volume:250",
    "0.125 g": "mass:0.125",
    "1.500 mm": "length:150",
    "12.500 MHz": "frequency:1.25e+10",
    "3.175mm": "",
    "433.920 MHz": "",
    "2,440 mm": "",
    "3.175 x 9.525 mm": "",
    "2.500 x 3.500 m": "length:250 length:350",
    ".5 l": "volume:500",
    "1.234,5 g": "mass:1230",
    "1,234.5 g": "mass:1230",
    "1.500.000 pcs": "count:1500000",
    "1.5.2 kg": "",
    "0.500.000 g": "",
    "1.5 pcs": "",
    "1'500 g": "mass:1500",
    "1'500.50 g": "mass:1500",
    "5'10 cm": "",
    "1..5 kg": "",
    "1٫٥ لتر": "volume:1500",
    "1٬500 مل": "volume:1500",
    "1،5 لتر": "volume:1500",
    "1·5 kg": "mass:1500",
    "1:500 ml": "",
    "0 ml": "",
    "00ghz": "",
    # digits parted by blanks
    "1 500 g": "mass:1500",
    "net 1 500 g": "mass:1500",
    "rice (1 500 g)": "mass:1500",
    "6 x 1 500 ml": "count:6 volume:1500",
    "powerbank 10 000 mAh": "charge:10000",
    "powerbank 10 000mAh": "charge:10000",
    "lactogen 3 800 gr": "",
    "lactogen 3 800gr": "mass:800",
    "kitten 36 400gr": "mass:400",
    "iphone 7 128 gb": "memory:128",
    "senar x8 100m": "count:8 length:10000",
    "seri 4 100 200 ml": "volume:200",
    "phone 5 5 inch": "",
    "phone 12 7 cm": "",
    "iphone 7 7g": "",
    "tea 12 50 g": "mass:50",
    # ranges and sums
    "100-200 g": "mass:100 mass:200",
    "100–200 g": "mass:100 mass:200",
    "1/2-1 kg": "mass:500 mass:1000",
    "12-24v": "voltage:12 voltage:24",
    "spf 36 - 40ml": "volume:40",
    "celana 2-8886 m": "length:889000",
    "crj-6368-2l": "volume:2000",
    "8+128GB": "memory:8 memory:128",
    "200 + 30 ml": "volume:200 volume:30",
    "madu 3+ 1000gr": "mass:1000",
    "6 + 1 pcs": "",
    "500ml+100ml": "volume:100 volume:500",
    # generations of networks are no grams
    "phone 64gb 4g": "memory:64",
    "modem 4g lte": "",
    "mouse wireless 2.4g": "",
    "wifi 2.4g/5g": "",
    "lip balm 4g": "mass:4",
    # a count and an amount
    "6x330ml": "count:6 volume:330",
    "6 x 330 ml": "count:6 volume:330",
    "6×330 ml": "count:6 volume:330",
    "6 * 330ml": "count:6 volume:330",
    "6х330 мл": "count:6 volume:330",
    "330ml x 6": "count:6 volume:330",
    "330mlx6": "count:6 volume:330",
    "330ml*6瓶": "count:6 volume:330",
    "2 pcs x 50 ml": "count:2 volume:50",
    "2pcs x 50ml": "count:2 volume:50",
    "50 ml x 2 pcs": "count:2 volume:50",
    "6 bottles x 12 fl oz": "count:6 volume:355",
    "10 x 2 x 50 gr": "count:10 count:2 mass:50",
    "2 x 250/500 ml": "count:2 volume:250 volume:500",
    "250/500 ml x 2": "count:2 volume:250 volume:500",
    "6 cans x 330 ml": "count:6 volume:330",
    "6 шт х 330 мл": "count:6 volume:330",
    "500ml*12瓶*2箱": "count:12 count:2 volume:500",
    "12 x 1 l": "count:12 volume:1000",
    "300 sheets x 4 roll": "count:300 count:4",
    "2 x 8GB": "count:2 memory:8",
    # sides
    "120x80 cm": "length:120 length:80",
    "120 x 80 x 40 cm": "length:120 length:40 length:80",
    "120cm x 80cm": "length:120 length:80",
    "120 cm x 80": "length:120 length:80",
    "120×80×40cm": "length:120 length:40 length:80",
    "1.5 x 2 m": "length:150 length:200",
    "30 by 40 cm": "length:30 length:40",
    "1920x1080 px": "resolution:1080 resolution:1920",
    "120 x 80": "",
    "M6x20mm": "length:2",
    "M6x1.5x20mm": "length:0.15 length:2",
    "120x80 cm x 2 pcs": "count:2 length:120 length:80",
    # glued to letters, in other scripts
    "洗发水500ml装": "volume:500",
    "洗发水500毫升装": "volume:500",
    "シャンプー500mlボトル": "volume:500",
    "샴푸500ml대용량": "volume:500",
    "สบู่500มล.": "volume:500",
    "sabun500ml": "volume:500",
    "шампунь500мл": "volume:500",
    "500 мл": "volume:500",
    "500毫升": "volume:500",
    "500 มล.": "volume:500",
    "500มิลลิลิตร": "volume:500",
    "500 مل": "volume:500",
    "٥٠٠ مل": "volume:500",
    "١٠٬٠٠٠ مل": "volume:10000",
    "1 LİTRE": "volume:1000",
    "1,5 кг": "mass:1500",
    "2公斤": "mass:2000",
    "3 шт. по 50 г": "count:3 mass:50",
    "10 ชิ้น": "count:10",
    "12枚入": "count:12",
    "㎏ 5㎏ ５００㎖": "mass:5000 volume:500",
    "แชมพู500มล": "volume:500",
    "500 ก.": "mass:500",
    "500ก": "mass:500",
    "2 กก.": "mass:2000",
    "1 ล.": "volume:1000",
    "5 ม.": "length:500",
    "2 ก.ย.": "",
    "2 กา": "",
    "2 ล้าน": "",
    "500ซีซี": "volume:500",
    "๕๐๐ มล.": "volume:500",
    "۵۰۰ گرم": "mass:500",
    "۲ کیلو": "mass:2000",
    "250 غرام": "mass:250",
    "500 میلی‌لیتر": "volume:500",
    "২ কেজি": "mass:2000",
    "५०० ग्राम": "mass:500",
    "1 lít": "volume:1000",
    "500 gam": "mass:500",
    "hộp 10 gói": "count:10",
    "1 kodi": "count:20",
    "2克拉": "",
    "2升级": "",
    "6개월": "time:6",
    "5 dl": "volume:500",
    "５００ｍｌ": "volume:500",
    "500\u00a0ml": "volume:500",
    "500   ml": "volume:500",
    "500_ml": "volume:500",
    "500ml_sabun": "volume:500",
    "500\u200eml": "volume:500",
    # units of the United States
    "16 oz": "mass:454",
    "16oz": "mass:454",
    "1 lb": "mass:454",
    "5 lbs": "mass:2270",
    "16 fl oz": "volume:473",
    "16 fl. oz.": "volume:473",
    "8 fluid ounces": "volume:237",
    "1 gallon": "volume:3790",
    '55"': "length:140",
    "55”": "length:140",
    "55''": "length:140",
    '55 "': "length:140",
    "55 inch": "length:140",
    "55-inch": "length:140",
    "55in tv": "length:140",
    "5'": "length:152",
    "5 ft": "length:152",
    "5'10\"": "length:152 length:25.4",
    '5"x7"': "length:12.7 length:17.8",
    "8 x 10 in": "length:20.3 length:25.4",
    "1.1/2 inch": "length:3.81",
    '1.1/4"': "length:3.17",
    "3.5/4 ghz": "frequency:3500000000 frequency:4000000000",
    "55 zoll": "length:140",
    # packs
    "isi10": "count:10",
    "isi 10pcs": "count:10",
    "isi 500 ml": "volume:500",
    "isi 10/6": "count:10 count:6",
    "isi: 10": "count:10",
    "pack of 3": "count:3",
    "kopi x3": "count:3",
    "kopi 3x": "count:3",
    # no amounts
    "3 in 1": "",
    "2in1": "",
    "5 in 1 tool": "",
    '"iphone 8" case': "",
    "'size 38' murah": "",
    "women's 50's": "",
    "a10 l": "",
    "windows10 m": "",
    "sm-t500g": "",
    "canon g7 x": "",
    "X2P4": "",
    "e27": "",
    "10m2": "",
    "flashdisk 100MB/s 16GB": "memory:16",
    "canon CL 811 CL-811": "",
    "laptop X455LB": "",
    "neff V7446X1GB": "",
    "durex100ml": "volume:100",
    "6 X11ML": "count:6 volume:11",
    "pena BP-264 / 1 box": "",
    "pena BP-264 / 2 box": "count:2",
    "masker 1 pack": "",
    "kaus kaki 1 pasang": "",
    "口罩1盒": "",
    "masker 1 pcs": "count:1",
    "masker isi 1": "count:1",
    "ac 1/2 pk": "",
    "ac 1½ pk": "",
    "ac 3/4pk": "",
    "cola 6 pk": "count:6",
    "sabun-500ml": "volume:500",
    "12 V-24 V": "voltage:12 voltage:24",
    "12345678901234 ml": "",
    "m l": "",
    "kg": "",
    "iphone x 64 gb": "memory:64",
    "6个月": "time:6",
}


@pytest.mark.parametrize(("title", "expected"), READ.items())
def test_quantities_of_titles(title: str, expected: str) -> None:
    assert quantities(title) == set(expected.split())
    assert quantities(f"{title} asli") == set(expected.split())


@pytest.mark.parametrize("title", ["Sabun 500 ML", "6x330ml", "120x80 cm", "1,500 ml", "0.5 kg", "500毫升", "16 fl oz"])
def test_normalized_titles_say_the_same(title: str) -> None:
    assert quantities(normalize(title)) == quantities(title)


def test_rest_has_no_quantities() -> None:
    assert read_quantities("Lamp E27 6x330ml, 120x80cm 2 pcs red")[1].split() == ["lamp", "e27", ",", "red"]
    assert read_quantities("Cat 6 5m 1.000 kg 0 ml 6+1 pcs 3.175mm")[1].split() == ["cat", "6"]
    assert read_quantities("Bolt M6x20mm 4g")[1].split() == ["bolt", "m6"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Milk 1.500 kg", "Milk 1500 g"),
        ("Milk 1.000 kg", "Milk 1 kg"),
        ("Milk 1 500 g", "Milk 1.5 kg"),
        ("Lactogen 3 800 gr", "Lactogen 800 gr"),
        ("Clock 80-130 cm", "Clock 80 cm"),
        ("Powder 200+100 gr", "Powder 200 gr"),
        ("Phone 5 5 inch", "Phone 5.5 inch"),
        ("Phone 4G 64GB 174 g", "Phone 64 GB 174g 4g LTE"),
        ("Phone 64 GB 4g", "Phone 64 GB 174g"),
        ("Cola 6x330ml", "Cola 330 ml"),
        ("Cola 6 cans x 330 ml", "Cola 6 x 330ml"),
        ("Table 120x80 cm", "Table 120 cm x 80 cm, 1 pc"),
        ("Masker Sensi 1 box", "Masker Sensi 50 pcs"),
        ("Tisu 1 pack", "Tisu 250 sheets"),
        ("AC 1/2 PK", "AC 0,5 PK 1 unit"),
        ("SSD 1TB", "SSD 1000GB"),
        ("SSD 1TB", "SSD 1024GB"),
        ("SSD 0.5 TB", "SSD 500 GB"),
        ("RAM 1000 MB", "RAM 1 GB"),
        ("Drill 3.175mm", "Drill 1/8 inch"),
        ("Tea 16 oz", "Tea 453 g"),
        ('TV 55"', "TV 139 cm"),
        ('Monitor 27"', "Monitor 69 cm"),
        ('Monitor 24"', "Monitor 60 cm"),
        ("Cable 6ft", "Cable 1.8m"),
        ("Coffee 1 lb", "Coffee 450 g"),
        ("Cola 12 fl oz", "Cola 350 ml"),
        ("Serum 1.7 fl oz", "Serum 50 ml"),
    ],
)
def test_spellings_of_one_amount_are_no_conflict(make_catalog: Callable[..., Any], one: str, other: str) -> None:
    pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
    assert quantity_conflict(PoolViews(make_catalog([one, other]), {}), pairs)(slice(None))["quantity_conflict"][0] != 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tea 453 g", "Tea 450 g"),
        ("Tea 16 oz", "Tea 440 g"),
        ("Tea 16 oz", "Tea 15 oz"),
        ("Phone 6.6 inch", "Phone 6.7 inch"),
        ('TV 55"', "TV 56 inch"),
        ('TV 58"', "TV 60 inch"),
        ('TV 55"', "TV 1.5 m"),
        ("Battery 1 pcs", "Battery 4 pcs"),
        ("Battery 2 pack", "Battery 4 pack"),
        ("SSD 1TB", "SSD 2TB"),
        ("RAM 512 MB", "RAM 256 MB"),
    ],
)
def test_other_amounts_conflict(make_catalog: Callable[..., Any], one: str, other: str) -> None:
    pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
    assert quantity_conflict(PoolViews(make_catalog([one, other]), {}), pairs)(slice(None))["quantity_conflict"][0] == 1


def test_fractions_conflict_as_they_should(make_catalog: Callable[..., Any]) -> None:
    titles = ["Tepung 1/2 kg", "Tepung 2 kg", "Gula ½ kg", "Gula 0.5 kg", "Susu 1½ L", "Susu 1.5 L", "Susu 1.500 ml"]
    pairs = CandidatePairs(7, np.array([0, 0, 2, 4, 4], np.int32), np.array([1, 2, 3, 5, 6], np.int32))
    assert quantity_conflict(PoolViews(make_catalog(titles), {}), pairs)(slice(None))["quantity_conflict"].tolist() == [
        1,
        0,
        0,
        0,
        0,
    ]


PIECES = st.sampled_from(
    [
        *"0123456789 .,/x×*'\"-",
        "½",
        "ml",
        "kg",
        "cm",
        "in",
        "pcs",
        "isi",
        "fl oz",
        "洗",
        "มล",
        "мл",
        "\u2044",
        "000",
        "a",
    ]
)


@pytest.mark.fault(3)
@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=20).map("".join)))
def test_any_title_is_read(title: str) -> None:
    for value in quantities(title):
        dimension, _, amount = value.partition(":")
        assert dimension in BASES
        assert float(amount) >= 0


PIECES_OF_LONG_TITLES = [
    *HOSTILE,
    *("1", "1 ", "1.1 ", "1.", "a1", "1x", "x1 ", "isi 1", "12é", "isi ", "1/", "1/2 ", "1 1/2", '"', '5"', "'", "5'"),
    *(
        "5' ",
        "\u0301\u0323",
        "½",
        "1½",
        "x",
        "1x1 ",
        "1 kg x ",
        "洗1",
        "in ",
        "5in ",
        "ml",
        "1,",
        "fl oz ",
        "5fl ",
        "-1",
    ),
    *("1- ", "&#1", "1 x", "  ", "1  ", "abcd1", "1\u20442", "一", "1x1kg/", "อ", "1อั", '5"x'),
]


@pytest.mark.fault(3, 31)
@pytest.mark.parametrize("unit", PIECES_OF_LONG_TITLES)
def test_long_titles_take_linear_time(unit: str) -> None:
    title = "5 kg " + unit * (1_000_000 // len(unit))
    with at_most(5):
        read_quantities(title)


@pytest.mark.fault(31)
@pytest.mark.parametrize("error", [ValueError, MemoryError, RecursionError])
def test_title_that_cannot_be_read_states_nothing(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    break_titles(monkeypatch, error)
    assert read_quantities(UNREADABLE) == (frozenset(), "")
    assert quantities("tea 5 kg") == {"mass:5000"}
