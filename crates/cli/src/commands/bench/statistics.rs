//! Statistics of a row of figures. Pure; `None` where there are too few figures.

/// The value in the middle; for an even count, the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// The geometric mean of positive values.
pub fn geomean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    mean(values.into_iter().map(f64::ln)).map(f64::exp)
}

pub fn largest(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    values.into_iter().max_by(f64::total_cmp)
}

/// Spearman's rank correlation, -1 to 1: Pearson's of the ranks, where equal values share the mean of theirs. 0 if all
/// values of a side are equal: such a side orders nothing. `None` for fewer than two pairs.
pub fn spearman(pairs: &[(u64, u64)]) -> Option<f64> {
    if pairs.len() < 2 {
        return None;
    }
    let left = ranks(pairs.iter().map(|(left, _)| *left));
    let right = ranks(pairs.iter().map(|(_, right)| *right));
    // The sum of ranks does not depend on ties.
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let spread = (product(&left, &left, middle) * product(&right, &right, middle)).sqrt();
    Some(if spread > 0.0 { product(&left, &right, middle) / spread } else { 0.0 })
}

/// The scalar product of the distances from the middle.
fn product(one: &[f64], other: &[f64], middle: f64) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - middle) * (other - middle)).sum()
}

/// The rank of each value, from 0. Equal values share the mean of their ranks.
fn ranks(values: impl Iterator<Item = u64>) -> Vec<f64> {
    let values: Vec<u64> = values.collect();
    let mut sorted = values.clone();
    sorted.sort_unstable();
    values.iter().map(|value| rank(*value, &sorted)).collect()
}

/// The rank of a value among all values in order.
fn rank(value: u64, sorted: &[u64]) -> f64 {
    let below = sorted.partition_point(|other| *other < value);
    let through = sorted.partition_point(|other| *other <= value);
    (below + through - 1) as f64 / 2.0
}

/// The cost of the chosen item over the lowest cost: 1 is the best choice. `None` without costs, or if the lowest is 0.
pub fn regret(costs: &[u64], chosen: usize) -> Option<f64> {
    let best = *costs.iter().min()?;
    (best > 0).then(|| costs[chosen] as f64 / best as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Option<f64>, expected: Option<f64>) {
        let is_near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
            (None, None) => true,
            _ => false,
        };
        assert!(is_near, "{found:?}, expected {expected:?}");
    }

    #[test]
    fn medians() {
        check(median([]), None);
        check(median([3.0]), Some(3.0));
        check(median([5.0, 1.0, 3.0]), Some(3.0));
        check(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn means() {
        check(mean([]), None);
        check(mean([1.0, 2.0, 6.0]), Some(3.0));
        check(geomean([]), None);
        check(geomean([0.5, 2.0]), Some(1.0));
        check(geomean([1.0, 10.0, 100.0]), Some(10.0));
        check(largest([]), None);
        check(largest([1.0, 3.0, 2.0]), Some(3.0));
    }

    #[test]
    fn rank_correlations() {
        check(spearman(&[]), None);
        check(spearman(&[(1, 1)]), None);
        check(spearman(&[(1, 10), (2, 20), (3, 1000)]), Some(1.0));
        check(spearman(&[(1, 30), (2, 20), (3, 10)]), Some(-1.0));
        // 1 - 6 x sum of squared differences / (n (n^2 - 1)), without ties: differences 0, 1, 1, 0.
        check(spearman(&[(1, 1), (2, 3), (3, 2), (4, 4)]), Some(0.8));
        // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 x 5).
        check(spearman(&[(1, 1), (2, 2), (2, 3), (9, 4)]), Some(4.5 / 22.5_f64.sqrt()));
        check(spearman(&[(7, 1), (7, 2), (7, 3)]), Some(0.0));
    }

    #[test]
    fn regrets() {
        check(regret(&[100, 50, 200], 1), Some(1.0));
        check(regret(&[100, 50, 200], 0), Some(2.0));
        check(regret(&[0, 50], 1), None);
    }
}
