"""How the products of the shops look; siblings differ in color, or in what is printed on them."""

import numpy as np

from shared.demo.canvas import Look, contrasting, darker, lighter
from shared.demo.chance import pick
from shared.demo.labels import FRONT_LAYOUTS, ICONS
from shared.demo.shops.categories import COLORS
from shared.demo.shops.products import Product

UNITS = {"capacity": " GB"}


def look_of(product: Product) -> Look:
    """Return how a product looks: its color and the printed specification follow from it, all else from its style."""
    rng = np.random.default_rng([product.style])
    main = COLORS[product.color][0]
    other = COLORS[pick(list(COLORS), rng)][0]
    panel = lighter(other, 0.7) if rng.random() < 0.5 else darker(other, 0.5)
    imprint = product.category.imprint
    return Look(
        form=product.category.form,
        brand=product.brand.short,
        line=product.line,
        option=product.spec(imprint) + UNITS.get(imprint, "") if imprint else "",
        main=main,
        second=darker(main, 0.4) if rng.random() < 0.6 else lighter(main, 0.4),
        panel=panel,
        ink=contrasting(panel),
        pattern="plain",
        layout=pick(FRONT_LAYOUTS, rng),
        icon=pick(list(ICONS), rng),
        shape=tuple(rng.random(8).tolist()),
    )
