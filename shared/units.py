"""The units that listings state, the words that people write for them, and their sizes; one table for the project.

What a unit is and how large it is comes from the library `pint`. The words are ours. `shared.titles` glues some of them
to their number; `ensemble.features.quantities` reads all of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

# Dimension → the unit of pint that its amounts are counted in, and its symbol.
BASES = {
    "volume": ("milliliter", "ml"),
    "mass": ("gram", "g"),
    "length": ("centimeter", "cm"),
    "memory": ("gibibyte", "GB"),
    "power": ("watt", "W"),
    "charge": ("milliampere * hour", "mAh"),
    "energy": ("watt * hour", "Wh"),
    "voltage": ("volt", "V"),
    "frequency": ("hertz", "Hz"),
    "rotation": ("rpm", "rpm"),
    "pressure": ("psi", "psi"),
    "resolution": ("pixel", "pixels"),
    "density": ("dpi", "dpi"),
    "bandwidth": ("megabit / second", "Mbps"),
    "time": ("month", "months"),
    "count": ("count", "pieces"),
}

# Dimension | unit of pint | words, lower case. A word with a "+" is glued to its number in normalized titles: not
# counting words ("2 pcs") and letters that are sizes or models more often than units ("a", "s", "x", "in"). A unit with
# a "*" is so small that three digits after one separator are thousands: "1.500 g" is 1500 g, "1.500 kg" is 1.5 kg.
# Containers are counted as pieces are, but one of them may hold several pieces.
_TABLE = """
volume | * microliter | μl
volume | * milliliter | +ml mili milli milliliter milliliters millilitre millilitres mililiter mililitro mililitros
volume | * milliliter | +cc мл миллилитр миллилитра миллилитров 毫升 ミリリットル 밀리리터 มล มิลลิลิตร มิลลิ ซีซี مل ملل مللي
volume | * milliliter | ملليلتر مليلتر میل میلی میلیلیتر سیسی मिली মিলি מל
volume | centiliter | +cl centiliter centilitre
volume | deciliter | dl deciliter decilitre
volume | liter | +l +lt +ltr +liter +liters +litre +litres litro litros lít л литр литра литров 升 公升 リットル 리터
volume | liter | ล ลิตร لتر ليتر لیتر لیتری लीटर লিটার ליטר
volume | fluid_ounce | floz fluidounce fluidounces
volume | quart | qt quart quarts
volume | gallon | gal gallon gallons
mass | * microgram | +mcg μg ug микрограмм
mass | * milligram | +mg milligram milligrams мг 毫克 มก มิลลิกรัม
mass | * gram | +g +gr +gram +grams +gms grm gm gramm gramme grammes gramo gramos gam г гр грамм грамма граммов 克
mass | * gram | グラム 그램 ก กรัม جرام غرام غ جم غم گرم گرمی ग्राम গ্রাম גרם
mass | kilogram | +kg kgs kilo kilos kilogram kilograms kí ký cân кг кило килограмм килограмма килограммов 公斤 千克
mass | kilogram | キロ 킬로 킬로그램 키로 กก กิโล กิโลกรัม โล كجم كغ كغم كيلو كيلوجرام كيلوغرام کیلو کیلوگرم کیلویی
mass | kilogram | किलो किग्रा কেজি
mass | hectogram | ons lạng ขีด
mass | 500 gram | 斤
mass | ounce | +oz ounce ounces
mass | pound | +lb +lbs pound pounds
length | * millimeter | +mm millimeter millimeters millimetre millimetres мм 毫米 มม มิลลิเมตร مم
length | centimeter | +cm cms centimeter centimeters centimetre centimetres centímetro centímetros см сантиметров 厘米
length | centimeter | 公分 センチ 센티 ซม เซนติเมตร سم سانت سانتی सेमी
length | meter | +m +mtr +meter +meters +metre metres metro metros mét м метр метра метров 米 公尺 メートル 미터
length | meter | ม เมตร متر मीटर
length | inch | +inch inches inchi inci in zoll pouces pulgadas polegadas pollici дюйм дюйма дюймов 英寸 英吋 寸 吋
length | inch | インチ 인치 นิ้ว بوصة بوصه انش إنش اینچ
length | foot | ft foot feet фут фута футов 英尺 ฟุต
length | yard | yard yards yd
memory | mebibyte | +mb мб
memory | * gibibyte | +gb гб
memory | tebibyte | +tb тб
power | * watt | +w +watt watts вт ватт 瓦 วัตต์ واط
power | kilowatt | +kw квт 千瓦
charge | * milliampere * hour | +mah мач 毫安
energy | * watt * hour | +wh
voltage | volt | +v +volt volts вольт 伏 โวลต์
frequency | hertz | +hz гц
frequency | kilohertz | +khz кгц
frequency | * megahertz | +mhz мгц
frequency | gigahertz | +ghz ггц
rotation | * rpm | +rpm
pressure | * psi | +psi
resolution | * pixel | +px +pixels pixel
resolution | megapixel | +mp +mpix megapixel megapixels
density | * dpi | +dpi
bandwidth | * megabit / second | +mbps
time | month | 个月 個月 개월
count | * count | pk pcs pc pce pieces piece pzas piezas buah bh biji lembar helai butir keping batang sheet sheets
count | * count | sachet sachets tablet tablets kapsul capsule capsules caps unit units ct count stück stk adet
count | * count | szt unid unds unidades uds cái chiếc viên miếng
count | * count | шт штук штуки штука таблеток капсул عدد عددی حبة حبه قطعة قطعه قطع
count | * count | 个 個 片 支 件 条 條 张 張 只 隻 枚 粒 块 本 入 개 매 ชิ้น อัน เม็ด แผ่น पीस পিস
container | * count | pasang pair pairs pack packs pak pax box boxes roll rolls set sets strip bungkus bks
container | * count | botol btl bottle bottles kaleng cans tins jars gói hộp lon đôi упак уп пар пара пары банок банки
container | * count | 包 盒 瓶 袋 双 雙 对 對 罐 缶 组 組 套 卷 箱 パック セット 팩 병 봉 세트 박스
container | * count | แพ็ค แพค กล่อง ขวด ซอง คู่ ชุด
count | 12 count | lusin dozen dozens lsn дюжина 打 โหล 다스
count | 20 count | kodi
"""


class Unit(NamedTuple):
    """A unit.

    Args:
        dimension: A key of `BASES`; amounts of one dimension can be compared.
        expression: The unit as pint reads it.
        has_thousands: Whether three digits after one separator are thousands, not decimals.
        is_container: Whether one of them may hold several pieces, so that "1 box" says nothing of their count.
    """

    dimension: str
    expression: str
    has_thousands: bool
    is_container: bool = False

    def to_base(self, amount: float) -> float:
        """Return an amount of this unit in the base unit of its dimension.

        Examples:
            >>> WORDS["kg"].to_base(1.5), WORDS["lusin"].to_base(2)
            (1500.0, 24.0)
        """
        return amount * _size(self)


def _read_table() -> tuple[dict[str, Unit], tuple[str, ...]]:
    words: dict[str, Unit] = {}
    glued = []
    for line in _TABLE.strip().splitlines():
        dimension, expression, spellings = (part.strip() for part in line.split("|"))
        is_container = dimension == "container"
        dimension = "count" if is_container else dimension
        unit = Unit(dimension, expression.removeprefix("* "), expression.startswith("* "), is_container)
        for spelling in spellings.split():
            words[spelling.removeprefix("+")] = unit
            glued += [spelling[1:]] if spelling.startswith("+") else []
    return words, tuple(glued)


WORDS, GLUED_WORDS = _read_table()  # word → its unit; the words that normalized titles glue to their number


@cache
def _registry() -> Any:
    import pint  # half a second with its registry, which a run with nothing to do can save

    return pint.UnitRegistry()


@cache
def _size(unit: Unit) -> float:
    """Return how many base units of its dimension a unit is."""
    return float(_registry().Quantity(unit.expression).to(BASES[unit.dimension][0]).magnitude)
