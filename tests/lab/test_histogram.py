"""Latencies keep three significant digits from the generator to the percentile."""

import servers
from hypothesis import given
from hypothesis import strategies as st

from headrace.lab.histogram import encode, has_percentile, histogram_of, percentile_us
from headrace.lab.load import Load


@given(st.lists(st.tuples(st.integers(1, 59_000_000_000), st.integers(1, 1000)), max_size=30))
def test_histogram_keeps_every_sample(pairs):
    histogram = histogram_of(pairs)
    assert histogram.get_total_count() == sum(count for _, count in pairs)
    assert type(histogram).decode(encode(histogram)).get_total_count() == sum(c for _, c in pairs)


def test_histogram_has_the_same_buckets_as_the_generator():
    with servers.serving(servers.honest) as address:
        load = Load(address, busy=4, size=8)
        load.connect()
        pairs = load.run(0.1).latency_ns
        load.close()
    histogram = histogram_of(pairs)
    for latency_ns, _ in pairs:
        assert histogram.get_lowest_equivalent_value(latency_ns) == latency_ns


def test_percentile_is_none_when_few_samples_carry_it():
    assert has_percentile(1_000, 99.0)
    assert not has_percentile(999 - 10, 99.0)
    assert percentile_us(histogram_of([(5_000, 900)]), 99.0) is None
    assert percentile_us(histogram_of([(5_000, 1_000)]), 99.0) is not None
