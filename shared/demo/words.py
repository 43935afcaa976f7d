"""The words of the demo marketplace: kinds of products, colors and flavors, invented names."""

from typing import NamedTuple

RGB = tuple[int, int, int]


class Option(NamedTuple):
    """A color, scent or flavor: its names, Indonesian first, and the color it is drawn in."""

    names: tuple[str, ...]
    rgb: RGB


class Kind(NamedTuple):
    """A kind of product.

    Attributes:
        form: The silhouette that it is drawn with, a key of `drawing.FORMS`.
        nouns: What sellers call it.
        lines: Two lists of words; the name of a product line has one of each.
        options: The colors, scents or flavors it comes in.
        amounts: The sizes that it comes in; empty where size plays no role.
        unit: The unit of the amounts, a key of `titles.UNITS`.
        claims: What sellers say about it.
        has_model: Whether it carries a model number.
    """

    form: str
    nouns: tuple[str, ...]
    lines: tuple[tuple[str, ...], tuple[str, ...]]
    options: tuple[Option, ...]
    amounts: tuple[int, ...]
    unit: str
    claims: tuple[str, ...]
    has_model: bool = False


BRAND_STARTS = (
    "Zel", "Vor", "Quen", "Brim", "Tav", "Lurm", "Kaz", "Dew", "Orv", "Pell", "Rij", "Sov", "Wex", "Yun", "Gri", "Hal",
    "Mirr", "Nuv", "Jax", "Elv", "Fenn", "Quob", "Bav", "Xil", "Ulm", "Tre", "Skand", "Plo",
)  # fmt: skip
BRAND_ENDS = (
    "ora", "ind", "ika", "une", "osta", "ell", "aro", "yx", "ibu", "anti", "eva", "ond", "iru", "asse", "omi", "urra",
    "etto", "axo", "elin", "oza", "ushi", "andra", "ipo", "erly",
)  # fmt: skip

CARE = (
    ("Silky", "Fresh", "Pure", "Soft", "Daily", "Aqua", "Bright", "Herbal", "Royal", "Gentle", "Ultra", "Natural"),
    ("Touch", "Care", "Glow", "Repair", "Shine", "Bloom", "Nutri", "Expert", "Therapy", "Essence", "Balance"),
)
FOOD = (
    ("Gurih", "Renyah", "Mantap", "Nusantara", "Super", "Mini", "Golden", "Happy", "Rasa", "Dapur", "Kampung"),
    ("Crunch", "Bites", "Nona", "Juara", "Kriuk", "Lezat", "Time", "Hari", "Sari", "Ceria", "Asli"),
)
STYLE = (
    ("Alana", "Zivara", "Kanaya", "Milano", "Urban", "Classic", "Nadine", "Retro", "Basic", "Seoul", "Kirana", "Rania"),
    ("Oversize", "Premium", "Slim", "Daily", "Korea", "Sport", "Series", "Look", "Casual", "Active", "Polos", "Motif"),
)
TECH = (
    ("Turbo", "Neo", "Pulse", "Volt", "Sonic", "Hyper", "Air", "Titan", "Flex", "Prime", "Nova", "Orbit"),
    ("Max", "Pro", "Lite", "Plus", "Link", "Power", "Beat", "Go", "Shield", "One", "Edge", "Mini"),
)
HOME = (
    ("Cozy", "Happy", "Rumah", "Fancy", "Nordic", "Tropic", "Lucky", "Bunga", "Mini", "Eco"),
    ("Living", "Sip", "Home", "Friends", "Moment", "Hug", "Garden", "Story", "Club", "Day"),
)

COLORS = (
    Option(("hitam", "black"), (42, 42, 46)),
    Option(("putih", "white"), (240, 238, 232)),
    Option(("merah", "red"), (204, 38, 44)),
    Option(("navy", "biru dongker"), (34, 48, 96)),
    Option(("abu", "grey", "abu abu"), (140, 142, 148)),
    Option(("pink", "merah muda"), (240, 150, 178)),
    Option(("hijau", "green"), (52, 138, 82)),
    Option(("coklat", "brown"), (122, 78, 48)),
    Option(("kuning", "yellow"), (244, 206, 62)),
    Option(("ungu", "purple"), (122, 74, 160)),
    Option(("biru", "blue"), (52, 116, 208)),
    Option(("krem", "cream"), (228, 208, 172)),
    Option(("army", "hijau army"), (88, 96, 58)),
    Option(("maroon", "merah maroon"), (118, 26, 44)),
    Option(("tosca", "toska"), (66, 184, 176)),
    Option(("oranye", "orange"), (240, 130, 44)),
)
SCENTS = (
    Option(("mawar", "rose"), (222, 96, 132)),
    Option(("lavender",), (150, 118, 196)),
    Option(("lidah buaya", "aloe vera"), (104, 176, 88)),
    Option(("lemon",), (246, 214, 72)),
    Option(("teh hijau", "green tea"), (72, 130, 70)),
    Option(("arang", "charcoal"), (58, 60, 66)),
    Option(("susu", "milk"), (238, 226, 208)),
    Option(("madu", "honey"), (232, 164, 52)),
    Option(("menthol", "cool mint"), (86, 190, 206)),
    Option(("kelapa", "coconut"), (196, 168, 132)),
    Option(("sakura", "cherry blossom"), (246, 178, 200)),
    Option(("laut", "ocean"), (46, 110, 190)),
)
FLAVORS = (
    Option(("balado", "pedas"), (212, 48, 38)),
    Option(("keju", "cheese"), (246, 184, 44)),
    Option(("coklat", "chocolate"), (104, 62, 40)),
    Option(("stroberi", "strawberry"), (236, 86, 112)),
    Option(("rumput laut", "seaweed"), (40, 112, 74)),
    Option(("sapi panggang", "bbq"), (150, 60, 36)),
    Option(("jagung bakar", "corn"), (238, 196, 80)),
    Option(("matcha",), (136, 174, 84)),
    Option(("original",), (60, 110, 186)),
    Option(("vanila", "vanilla"), (244, 228, 184)),
    Option(("taro", "talas"), (156, 122, 190)),
    Option(("jeruk", "orange"), (244, 144, 40)),
)

KINDS = (
    Kind("bottle", ("shampoo", "sampo", "shampo rambut"), CARE, SCENTS, (70, 170, 340, 680), "ml",
         ("anti ketombe", "rambut rontok", "perawatan rambut", "[BPOM]")),
    Kind("pump", ("body lotion", "handbody", "hand body lotion"), CARE, SCENTS, (100, 200, 400, 600), "ml",
         ("pelembab kulit", "pemutih badan", "whitening", "[BPOM]")),
    Kind("bottle", ("sabun cair", "body wash", "sabun mandi cair"), CARE, SCENTS, (250, 450, 900), "ml",
         ("anti bakteri", "kulit lembut", "refill", "halal")),
    Kind("jar", ("krim wajah", "face cream", "cream muka"), CARE, SCENTS, (15, 30, 50), "g",
         ("siang malam", "glowing", "pencerah wajah", "[BPOM]", "anti aging")),
    Kind("tube", ("facial wash", "sabun muka", "pencuci muka"), CARE, SCENTS, (50, 100, 150), "g",
         ("kulit berminyak", "anti jerawat", "acne", "[BPOM]")),
    Kind("lipstick", ("lipstik", "lip cream", "lipstick matte"), CARE, COLORS, (), "",
         ("tahan lama", "waterproof", "[BPOM]", "matte")),
    Kind("pouch", ("keripik", "kripik singkong", "snack chips"), FOOD, FLAVORS, (60, 120, 250, 500), "g",
         ("renyah gurih", "cemilan", "oleh oleh", "halal")),
    Kind("pouch", ("kopi bubuk", "coffee", "kopi"), FOOD, FLAVORS, (100, 200, 500), "g",
         ("arabika", "robusta", "biji pilihan", "halal MUI")),
    Kind("box", ("susu bubuk", "milk powder", "susu"), FOOD, FLAVORS, (200, 400, 800), "g",
         ("usia 1-3 tahun", "tinggi kalsium", "exp panjang")),
    Kind("box", ("masker", "face mask", "masker wajah"), CARE, SCENTS, (5, 10, 50), "pcs",
         ("3 ply", "sekali pakai", "sheet mask", "earloop")),
    Kind("can", ("minuman kaleng", "drink", "minuman soda"), FOOD, FLAVORS, (6, 12, 24), "pcs",
         ("segar dingin", "exp lama", "halal")),
    Kind("tee", ("kaos", "t-shirt", "baju kaos"), STYLE, COLORS, (), "",
         ("cotton combed 30s", "pria wanita", "lengan pendek", "unisex", "distro")),
    Kind("dress", ("gamis", "dress wanita", "maxi dress"), STYLE, COLORS, (), "",
         ("busui friendly", "baju muslim", "bahan katun", "terbaru 2021", "fit to L")),
    Kind("pants", ("celana panjang", "celana", "jogger pants"), STYLE, COLORS, (), "",
         ("pria wanita", "bahan adem", "training", "pinggang karet")),
    Kind("shoe", ("sepatu sneakers", "sepatu", "sneaker shoes"), STYLE, COLORS, (), "",
         ("sekolah kuliah", "pria wanita", "sol karet", "import")),
    Kind("bag", ("tas selempang", "sling bag", "tas wanita"), STYLE, COLORS, (), "",
         ("kulit sintetis", "murah cantik", "korea style", "impor")),
    Kind("backpack", ("tas ransel", "backpack", "tas punggung"), STYLE, COLORS, (15, 20, 25, 30), "L",
         ("laptop 14 inch", "sekolah anak", "anti air", "free raincover")),
    Kind("phone", ("hp", "smartphone", "handphone android"), TECH, COLORS, (32, 64, 128), "GB",
         ("garansi resmi", "RAM 4", "4G LTE", "dual sim", "fullset"), True),
    Kind("case", ("casing hp", "case", "softcase"), TECH, COLORS, (), "",
         ("anti crack", "silikon", "tpu premium", "anti jamur"), True),
    Kind("cable", ("kabel data", "usb cable", "kabel charger"), TECH, COLORS, (1, 2, 3), "m",
         ("type c", "fast charging", "micro usb", "3A"), True),
    Kind("earphones", ("headphone", "headset bluetooth", "earphone wireless"), TECH, COLORS, (), "",
         ("bass", "garansi 1 tahun", "hifi stereo", "noise cancelling"), True),
    Kind("powerbank", ("powerbank", "power bank", "pb"), TECH, COLORS, (5000, 10000, 20000), "mAh",
         ("fast charging", "real capacity", "garansi", "slim"), True),
    Kind("watch", ("jam tangan", "smartwatch", "watch"), TECH, COLORS, (), "",
         ("anti air", "pria wanita", "tali karet", "garansi baterai"), True),
    Kind("tumbler", ("botol minum", "tumbler", "termos"), HOME, COLORS, (350, 500, 750, 1000), "ml",
         ("stainless", "bpa free", "tahan panas", "anti tumpah")),
    Kind("mug", ("gelas", "mug keramik", "cangkir"), HOME, COLORS, (), "",
         ("souvenir", "custom", "keramik tebal", "kado ulang tahun")),
    Kind("plush", ("boneka", "doll", "boneka lucu"), HOME, COLORS, (20, 30, 45, 60), "cm",
         ("bahan halus", "kado anak", "yelvo", "mainan anak")),
)  # fmt: skip
