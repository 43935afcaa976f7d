import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.search.sorting import best_first, distinct

LAST = 2**31 - 1  # the largest row that there may be


@given(
    st.integers(0, 40).flatmap(
        lambda e: st.tuples(
            arrays(np.int32, e, elements=st.sampled_from([0, 1, 2, LAST])),
            arrays(np.float32, e, elements=st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 0.5])),
        )
    )
)
def test_order_by_listing_then_value_is_stable(entries: tuple[np.ndarray, ...]) -> None:
    listing, value = entries
    expected = sorted(range(len(listing)), key=lambda at: (listing[at], -value[at]))
    assert best_first(listing, value).tolist() == expected


@given(arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 5) | st.just(2**62)))
def test_distinct_keys_are_those_of_unique(keys: np.ndarray) -> None:
    before = keys.copy()
    assert distinct(keys).tolist() == np.unique(keys).tolist()
    assert keys.tolist() == before.tolist()
