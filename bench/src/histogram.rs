//! A histogram of latencies: log-linear, 128 steps to each power of two, so a quantile is off by less than 1 %.
//!
//! Takes microseconds, gives quantiles. Recording is one addition and never allocates, so that measuring costs the
//! measured nothing. Our own, since it is forty lines; the layout is HdrHistogram's (Gil Tene).

/// Steps to each power of two.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from here on count as this one: about 19 hours.
const VALUE_MAX: u64 = (1 << 36) - 1;
const BUCKETS: usize = ((36 - STEP_BITS as usize) + 1) * STEPS as usize;

/// Counts of values in µs.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, sum: 0, max: 0 }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Histogram({} values, p50 {}, p99 {})", self.total, self.quantile(0.5), self.quantile(0.99))
    }
}

/// The bucket of a value: values below `2 * STEPS` have their own, larger ones share.
const fn bucket(value: u64) -> usize {
    let value = if value > VALUE_MAX { VALUE_MAX } else { value };
    let bits = 64 - value.leading_zeros();
    if bits <= STEP_BITS {
        return value as usize;
    }
    let shift = bits - STEP_BITS - 1;
    (shift as u64 * STEPS + (value >> shift)) as usize
}

/// The largest value of a bucket.
const fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket - shift * STEPS + 1) << shift) - 1
}

impl Histogram {
    /// Counts one value, µs.
    pub fn record(&mut self, micros: u64) {
        self.record_many(micros, 1);
    }

    /// Counts one value so many times: every event of a request waited as long as the request.
    pub fn record_many(&mut self, micros: u64, times: u64) {
        self.counts[bucket(micros)] += times;
        self.total += times;
        self.sum += micros * times;
        self.max = self.max.max(micros);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The mean, µs; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.total.max(1) as f64
    }

    /// The smallest bound below or at which that share of the values lies, µs; 0 of nothing, the exact maximum for 1.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = ((quantile.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(at).min(self.max);
            }
        }
        self.max
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn millis(&self, quantile: f64) -> f64 {
        self.quantile(quantile) as f64 / 1000.0
    }

    /// The curve of a plot: shares from the middle into the tail, with their value in milliseconds.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let shares = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];
        shares.into_iter().map(|share| (share, self.millis(share))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_touch() {
        for value in (0..4096).chain((12..36).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let at = bucket(value);
            assert!(value <= upper_end(at), "{value}");
            assert!(at == 0 || value > upper_end(at - 1), "{value}");
            assert!(upper_end(at) - value <= value / 100, "{value}: {}", upper_end(at));
        }
        assert_eq!(bucket(VALUE_MAX), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values_to_a_hundredth() {
        // A rough spread over six powers of ten, without a generator: squares of a lattice.
        let mut values: Vec<u64> = (1..20_000_u64).map(|n| n * n * 7919 % 3_000_017).collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        values.sort_unstable();
        for quantile in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[(quantile * values.len() as f64).ceil() as usize - 1];
            let found = histogram.quantile(quantile);
            assert!(found >= exact && found - exact <= exact / 100 + 1, "{quantile}: {found} for {exact}");
        }
        assert_eq!(histogram.quantile(1.0), values[values.len() - 1]);
        assert_eq!(histogram.count(), 19_999);
    }

    #[test]
    fn merging_is_counting_in_one() {
        let (mut left, mut right, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for value in 0..10_000 {
            if value % 3 == 0 {
                left.record(value)
            } else {
                right.record(value)
            }
            both.record(value);
        }
        left.merge(&right);
        assert_eq!(left.counts, both.counts);
        assert_eq!((left.count(), left.max, left.sum), (both.count(), both.max, both.sum));
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
