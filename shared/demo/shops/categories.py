"""What the shops sell: invented brands, and categories with their specifications and model numbers."""

from typing import NamedTuple

from shared.demo.words import RGB


class Brand(NamedTuple):
    """An invented brand and its short name, which is the same where there is none."""

    name: str
    short: str


class Spec(NamedTuple):
    """A specification.

    Attributes:
        name: What the value says, such as "capacity".
        values: The values that occur.
        forms: How shops write a value; each shop keeps to one form. Beside {value}, a form of a number may have {mega}
            (1,024 times the value), {tera} (a thousandth) and {cm} (the value in inches, in centimeters).
    """

    name: str
    values: tuple[str, ...]
    forms: tuple[str, ...]


class Category(NamedTuple):
    """A category of products.

    Attributes:
        form: The silhouette that its products are drawn with, a key of `drawing.FORMS`.
        nouns: What shops call such a product; each shop keeps to one noun.
        brands: Short names of the brands that make it, the most frequent first.
        lines: Number of lines of each brand.
        model: Format of a model number. It may have {p} and {q} (letters of brand and line), {n} (the number of the
            series), {c} (first letter of the color) and the names of specifications.
        digits: Digits of the number of the series.
        specs: The specifications, the most telling first.
        axes: What siblings differ in: "series", "color" or the name of a specification; frequent ones twice.
        colors: Keys of `COLORS`.
        claims: What shops say in praise.
        fits: Noun of the devices that it is made for, or empty.
        imprint: The specification that is printed on the product, or empty.
    """

    form: str
    nouns: tuple[str, ...]
    brands: tuple[str, ...]
    lines: int
    model: str
    digits: int
    specs: tuple[Spec, ...]
    axes: tuple[str, ...]
    colors: tuple[str, ...]
    claims: tuple[str, ...]
    fits: str = ""
    imprint: str = ""


BRANDS = {
    brand.short: brand
    for brand in (
        Brand("Sorvane", "Sorvane"), Brand("Kelmar", "Kelmar"), Brand("Northwick Digital", "NWD"),
        Brand("Halden & Prowse", "H&P"), Brand("Ostrava", "Ostrava"), Brand("Quillon", "Quillon"),
        Brand("General Tessaron", "GT"), Brand("Brixham", "Brixham"), Brand("Minoru Optical", "Minoru"),
        Brand("Velkor", "Velkor"), Brand("Laxton Wireless", "Laxton"), Brand("Zentrix", "Zentrix"),
        Brand("Farrow Industries", "Farrow"), Brand("Ardenne", "Ardenne"), Brand("Pellworth", "Pellworth"),
        Brand("Tokuda", "Tokuda"), Brand("United Datacraft", "UDC"), Brand("Corvid Audio", "Corvid"),
        Brand("Sternhaus", "Sternhaus"), Brand("Mirelle", "Mirelle"), Brand("Oakmont Tool Works", "Oakmont"),
        Brand("Javelin", "Javelin"),
    )
}  # fmt: skip

# Names of lines have one of each.
LINE_STARTS = (
    "Lumi", "Astra", "Cyra", "Vivo", "Pro", "Nimbu", "Omni", "Stel", "Tera", "Magni", "Aero", "Equi", "Flexi", "Opti",
    "Silva", "Tempo", "Ultri", "Verti", "Xeno", "Zephy", "Cala", "Dura", "Eka", "Fero", "Grani", "Helio", "Inte",
    "Juno", "Kine", "Lyra", "Mira", "Nova",
)  # fmt: skip
LINE_ENDS = (
    "shot", "jet", "line", "max", "vox", "tek", "stream", "core", "flow", "scan", "view", "mark", "pulse", "drive",
    "wave", "cast", "port", "gen", "lux", "zone", "craft", "path", "logic", "motion", "sphere", "mate", "dex", "nor",
    "ton", "ria", "star", "form",
)  # fmt: skip
PLAIN_WORDS = ("New", "Genuine", "Boxed", "Retail", "UK Stock", "Free Delivery", "2 Year Warranty", "OEM", "Latest")

COLORS: dict[str, tuple[RGB, tuple[str, ...]]] = {  # each with the ways to write it; a shop keeps to one
    "Black": ((38, 38, 42), ("Black", "Blk", "Black")),
    "White": ((238, 238, 236), ("White", "Wht", "White")),
    "Silver": ((190, 194, 200), ("Silver", "Slv", "Metallic Silver")),
    "Graphite": ((86, 90, 98), ("Graphite", "Grey", "Gray")),
    "Red": ((196, 36, 44), ("Red", "Rd", "Red")),
    "Blue": ((44, 96, 190), ("Blue", "Blu", "Blue")),
    "Pink": ((232, 140, 170), ("Pink", "Pnk", "Pink")),
    "Champagne": ((214, 190, 150), ("Champagne", "Gold", "Champagne Gold")),
    "Stainless Steel": ((168, 172, 178), ("Stainless Steel", "S/Steel", "Inox")),
    "Teal": ((20, 128, 132), ("Teal", "Tl", "Teal")),
    "Cyan": ((0, 160, 220), ("Cyan", "C", "Cyan")),
    "Magenta": ((214, 0, 120), ("Magenta", "M", "Magenta")),
    "Yellow": ((246, 214, 20), ("Yellow", "Y", "Yellow")),
}

GIGABYTES = ("{value}GB", "{value} GB", "{value} Gigabyte", "{value}gig")
DISKS = ("{value}GB", "{tera}TB", "{value} GB", "{tera} TB")
INCHES = ("{value}in", '{value}"', "{value} Inch", "{value}-inch", "{cm}cm")
METERS = ("{value}m", "{value} m", "{value} Metre")
KILOGRAMS = ("{value}kg", "{value} kg Load", "{value} Kilo")

CATEGORIES = (
    Category(
        "camera", ("Digital Camera", "Camera", "Compact Camera", "Digicam"),
        ("Minoru", "Sorvane", "Kelmar", "Tokuda", "Quillon", "Velkor", "H&P", "Ostrava"), 6, "{p}C-{q}{n}", 3,
        (Spec("resolution", ("6.0", "7.2", "8.1", "10.1", "12.1", "14.2"),
              ("{value} MP", "{value} Megapixel", "{value}MP", "{value} Mpix")),
         Spec("zoom", ("3", "4", "5", "8", "10", "12"), ("{value}x Optical Zoom", "{value}x Zoom", "{value}X Opt")),
         Spec("screen", ("2.5", "2.7", "3.0", "3.5"), ('{value}" LCD', "{value} inch LCD", "{value} LCD Screen")),
         Spec("stabilizer", ("Optical", "Digital", "Sensor Shift"), ("{value} Image Stabilisation", "{value} IS"))),
        ("series", "series", "color"), ("Black", "Silver", "Pink", "Red", "Blue"),
        ("Face Detection", "High Sensitivity", "Slim", "HD Movie", "Auto Focus"),
    ),
    Category(
        "router", ("Wireless Router", "Router", "Broadband Router", "WiFi Router", "Cable/DSL Gateway"),
        ("Laxton", "Brixham", "Zentrix", "UDC", "Quillon", "Pellworth", "NWD", "Velkor"), 4, "{p}T{n}{q}", 3,
        (Spec("standard", ("802.11b", "802.11g", "802.11n", "802.11ac"),
              ("{value}", "Wireless {value}", "IEEE {value}", "WLAN {value}")),
         Spec("speed", ("54", "108", "150", "300", "450", "1200"), ("{value}Mbps", "{value} Mbps", "{value} Mbit/s")),
         Spec("ports", ("1", "4", "5", "8"), ("{value}-Port Switch", "{value} Port", "{value} x RJ-45")),
         Spec("band", ("Single", "Dual", "Tri"), ("{value} Band", "{value}-Band"))),
        ("series", "series", "color"), ("Black", "White", "Graphite"),
        ("with Firewall", "Easy Setup", "for Home Office", "Long Range", "VPN"),
    ),
    Category(
        "television", ("LCD TV", "LED TV", "HDTV", "Television", "Flat Panel TV"),
        ("Sorvane", "Ostrava", "Tokuda", "Kelmar", "Sternhaus", "GT", "Mirelle", "Zentrix"), 4, "{p}-{size}{q}{n}", 3,
        (Spec("size", ("19", "22", "26", "32", "37", "40", "42", "46", "50", "55", "65"), INCHES),
         Spec("picture", ("720p", "1080p", "4K", "HD Ready"), ("{value}", "{value} HDTV", "{value} Resolution")),
         Spec("rate", ("50", "60", "100", "120", "200"), ("{value}Hz", "{value} Hz", "{value}Hz Refresh")),
         Spec("inputs", ("2", "3", "4"), ("{value} HDMI", "{value}x HDMI", "{value} HDMI Inputs"))),
        ("size", "size", "series", "color"), ("Black", "Silver", "Graphite"),
        ("Freeview", "Smart", "with Stand", "Slim", "Widescreen", "USB Recording"),
    ),
    Category(
        "card", ("SDHC Card", "Memory Card", "SD Card", "Flash Card", "Flash Memory"),
        ("Zentrix", "UDC", "Velkor", "Javelin", "NWD", "Sorvane", "Brixham"), 6, "{p}SD{q}-{capacity}G-{n}", 3,
        (Spec("capacity", ("1", "2", "4", "8", "16", "32"), (*GIGABYTES, "{mega}MB")),
         Spec("speed class", ("2", "4", "6", "10"), ("Class {value}", "Class{value}", "(Class {value})")),
         Spec("read speed", ("15", "20", "30", "45", "60", "95"), ("{value}MB/s", "{value} MB/s", "{value}MB/sec")),
         Spec("adapter", ("USB Reader", "SD Adapter", "Case"), ("with {value}", "+ {value}", "incl. {value}"))),
        ("capacity", "capacity", "series"), ("Blue", "Red", "Black", "Graphite", "Teal"),
        ("High Speed", "High Capacity", "Waterproof", "for Cameras", "Lifetime Warranty"), imprint="capacity",
    ),
    Category(
        "stick", ("USB Flash Drive", "USB Stick", "Pen Drive", "USB Drive", "Thumb Drive"),
        ("Velkor", "UDC", "Javelin", "Zentrix", "Sorvane", "Pellworth", "Brixham"), 6, "{p}U-{n}{q}/{capacity}", 3,
        (Spec("capacity", ("1", "2", "4", "8", "16", "32"), (*GIGABYTES, "{mega}MB")),
         Spec("bus", ("2.0", "3.0", "3.1"), ("USB {value}", "USB{value}", "Hi-Speed USB {value}")),
         Spec("housing", ("Metal", "Swivel", "Capless", "Rubber"), ("{value}", "{value} Housing", "{value} Design"))),
        ("capacity", "capacity", "color", "series"), ("Black", "Blue", "Red", "Silver", "Teal"),
        ("High Speed", "with Encryption", "Shockproof", "Key Ring", "Portable"), imprint="capacity",
    ),
    Category(
        "drive", ("Portable Hard Drive", "External Hard Drive", "External HDD", "USB Hard Disk", "Hard Disk Drive"),
        ("NWD", "UDC", "Quillon", "Velkor", "Tokuda", "Laxton", "Farrow", "Zentrix"), 4, "{p}D{capacity}{q}{n}", 3,
        (Spec("capacity", ("250", "320", "500", "750", "1000", "1500", "2000"), DISKS),
         Spec("disk", ("2.5", "3.5"), ('{value}"', "{value}-inch", "{value}in")),
         Spec("bus", ("USB 2.0", "USB 3.0", "FireWire", "eSATA"), ("{value}", "{value} Interface", "{value} Port")),
         Spec("spin", ("5400", "7200"), ("{value}rpm", "{value} RPM"))),
        ("capacity", "capacity", "color", "series"), ("Black", "Silver", "White", "Red", "Blue"),
        ("with Backup Software", "Pocket Size", "Rugged", "Desktop", "Mac and PC"), imprint="capacity",
    ),
    Category(
        "printer", ("Inkjet Printer", "Printer", "Photo Printer", "All-in-One Printer", "Multifunction"),
        ("H&P", "Minoru", "Quillon", "Ardenne", "Brixham", "Kelmar", "Ostrava"), 6, "{p}{n}", 4,
        (Spec("pages", ("15", "18", "22", "28", "30", "35"), ("{value}ppm", "{value} ppm", "{value} Pages/min")),
         Spec("dots", ("1200", "2400", "4800", "5760"), ("{value}dpi", "{value} dpi", "{value} x 1200 dpi")),
         Spec("paper", ("A4", "A3", "Letter"), ("{value}", "{value} Format", "{value} Colour")),
         Spec("network", ("WiFi", "Ethernet", "USB"), ("{value}", "with {value}", "{value} Connection"))),
        ("series", "series", "color"), ("Black", "White", "Graphite"),
        ("Print Scan Copy", "with Fax", "Borderless", "Energy Saving", "Duplex"),
    ),
    Category(
        "cartridge", ("Ink Cartridge", "Ink", "Ink Tank", "Inkjet Cartridge", "Print Cartridge"),
        ("H&P", "Minoru", "Quillon", "Ardenne", "Brixham", "Kelmar", "Ostrava"), 4, "{p}I-{n}{c}", 3,
        (Spec("yield", ("200", "350", "480", "700", "1000"), ("{value} Pages", "{value} Page Yield", "{value}pg")),
         Spec("pack", ("1", "2", "4"), ("{value}-Pack", "Pack of {value}", "{value}pk", "x{value}")),
         Spec("volume", ("6", "9", "13", "16"), ("{value}ml", "{value} ml"))),
        ("color", "color", "color", "pack", "series"), ("Black", "Cyan", "Magenta", "Yellow"),
        ("Original", "High Yield", "Vivid", "Photo Quality", "Standard Capacity"), fits="Printer",
    ),
    Category(
        "earphones", ("Headphones", "Stereo Headphones", "Headset", "Earphones"),
        ("Corvid", "Sorvane", "Pellworth", "Sternhaus", "Javelin", "Tokuda", "Zentrix", "Ardenne"), 6, "{p}H-{n}{q}", 3,
        (Spec("wearing", ("Over-Ear", "On-Ear", "In-Ear", "Behind-Neck"), ("{value}", "{value} Style", "{value} Type")),
         Spec("driver", ("13.5", "30", "40", "50"), ("{value}mm Drivers", "{value} mm", "{value}mm Driver Units")),
         Spec("cable", ("1.2", "1.5", "3"), METERS),
         Spec("impedance", ("16", "24", "32", "64"), ("{value} Ohm", "{value}ohms"))),
        ("series", "series", "color"), ("Black", "White", "Silver", "Red", "Blue"),
        ("Deep Bass", "Noise Cancelling", "Foldable", "with Carry Case", "with Mic"),
    ),
    Category(
        "washer", ("Washing Machine", "Washer", "Front Loader", "Automatic Washing Machine", "Laundry Washer"),
        ("Sternhaus", "Ostrava", "Mirelle", "GT", "Pellworth", "Tokuda", "Kelmar"), 4, "{p}M{load}{n}{c}", 3,
        (Spec("load", ("5", "6", "7", "8", "9", "10"), KILOGRAMS),
         Spec("spin", ("1000", "1200", "1400", "1600"), ("{value}rpm", "{value} Spin", "{value} rpm Spin Speed")),
         Spec("rating", ("A", "A+", "A++", "A+++"), ("{value} Rated", "Energy Class {value}", "{value} Energy")),
         Spec("width", ("50", "60"), ("{value}cm", "{value} cm Wide", "W{value}cm"))),
        ("load", "color", "series"), ("White", "Silver", "Black", "Stainless Steel"),
        ("Freestanding", "Quick Wash", "Quiet", "Integrated", "Steam"),
    ),
    Category(
        "drill", ("Cordless Drill", "Drill Driver", "Combi Drill", "Drill/Driver Kit", "Power Drill"),
        ("Oakmont", "Farrow", "Sternhaus", "Brixham", "Javelin", "Ardenne", "Tokuda"), 4, "{p}{volts}{q}{n}", 3,
        (Spec("volts", ("9.6", "10.8", "12", "14.4", "18", "24"), ("{value}V", "{value} Volt", "{value}-Volt")),
         Spec("battery", ("1.3", "1.5", "2.0", "3.0", "4.0"), ("{value}Ah", "{value} Ah Li-Ion", "{value}Ah Battery")),
         Spec("chuck", ("10", "13"), ("{value}mm Chuck", "{value} mm Keyless", "{value}mm")),
         Spec("torque", ("25", "35", "50", "60"), ("{value}Nm", "{value} Nm Torque"))),
        ("volts", "series"), ("Teal", "Yellow", "Red", "Black", "Blue"),
        ("with Case", "Bare Unit", "Two Batteries", "Heavy Duty", "Compact", "Brushless"),
    ),
    Category(
        "phone", ("Mobile Phone", "Smartphone", "Cell Phone", "Handset", "Phone"),
        ("Tokuda", "Kelmar", "Laxton", "Zentrix", "Sorvane", "Ostrava", "Quillon", "Mirelle"), 8, "{p}{n}", 3,
        (Spec("storage", ("4", "8", "16", "32", "64"), GIGABYTES),
         Spec("screen", ("3.5", "4.0", "4.7", "5.0", "5.5"), ('{value}"', "{value} inch", "{value} Display")),
         Spec("network", ("3G", "4G", "LTE", "GSM"), ("{value}", "{value} Network", "Quad Band {value}")),
         Spec("camera", ("5", "8", "12", "13"), ("{value}MP Camera", "{value} MP", "{value} Megapixel"))),
        ("storage", "color", "color", "series"), ("Black", "White", "Champagne", "Blue", "Silver"),
        ("Unlocked", "SIM Free", "Dual SIM", "Touchscreen", "Android"),
    ),
    Category(
        "watch", ("Watch", "Wrist Watch", "Sports Watch", "Chronograph"),
        ("Tokuda", "Ardenne", "Mirelle", "Javelin", "Kelmar", "Corvid", "Pellworth", "Minoru"), 6, "{p}-{n}{c}", 4,
        (Spec("case", ("34", "38", "40", "42", "44"), ("{value}mm", "{value} mm Case", "{value}mm Dial")),
         Spec("depth", ("30", "50", "100", "200"), ("{value}m", "Water Resistant {value}m", "WR{value}", "{value}M")),
         Spec("strap", ("Leather", "Resin", "Steel", "Nylon"), ("{value} Strap", "{value}", "{value} Band")),
         Spec("movement", ("Quartz", "Solar", "Automatic"), ("{value}", "{value} Movement"))),
        ("color", "series"), ("Black", "Silver", "Champagne", "Blue", "White"),
        ("Mens", "Ladies", "Unisex", "with Gift Box", "Luminous"),
    ),
    Category(
        "monitor", ("LCD Monitor", "Monitor", "Display", "TFT Monitor", "Flat Panel Monitor"),
        ("NWD", "Ostrava", "H&P", "Velkor", "Sorvane", "Quillon", "Zentrix", "Brixham"), 4, "{q}{size}{n}", 3,
        (Spec("size", ("17", "19", "20", "22", "24", "27"), INCHES),
         Spec("pixels", ("1280x1024", "1680x1050", "1920x1080", "2560x1440"), ("{value}", "{value} Pixels")),
         Spec("response", ("2", "5", "8"), ("{value}ms", "{value} ms Response", "{value}ms GTG")),
         Spec("socket", ("VGA", "DVI", "HDMI"), ("{value}", "{value} Input", "VGA/{value}"))),
        ("size", "series", "color", "size"), ("Black", "Silver", "White"),
        ("Widescreen", "with Speakers", "Height Adjustable", "Glossy", "Office"),
    ),
)  # fmt: skip
