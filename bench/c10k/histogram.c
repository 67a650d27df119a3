/* A histogram of logarithmic buckets with 64 linear steps for each power of two. */

#include "load.h"

static unsigned bucket_of(uint64_t value)
{
    unsigned power = 0, bucket;

    while (value >= 2 * HISTOGRAM_STEPS) {
        value >>= 1;
        power++;
    }
    bucket = power * HISTOGRAM_STEPS + (unsigned)value;
    return bucket < HISTOGRAM_SIZE ? bucket : HISTOGRAM_SIZE - 1;
}

/* The largest value that the bucket stands for. */
static uint64_t largest_of(unsigned bucket)
{
    unsigned power = bucket < 2 * HISTOGRAM_STEPS ? 0 : bucket / HISTOGRAM_STEPS - 1;
    uint64_t step = bucket - power * HISTOGRAM_STEPS;

    return ((step + 1) << power) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->largest)
        histogram->largest = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned bucket = 0; bucket < HISTOGRAM_SIZE; bucket++)
        into->buckets[bucket] += from->buckets[bucket];
    into->count += from->count;
    if (from->largest > into->largest)
        into->largest = from->largest;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = (double)histogram->count * percent / 100;
    uint64_t seen = 0;

    for (unsigned bucket = 0; bucket < HISTOGRAM_SIZE; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = largest_of(bucket);
            return value < histogram->largest ? value : histogram->largest;
        }
    }
    return histogram->largest;
}
