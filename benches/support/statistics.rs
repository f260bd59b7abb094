//! Figures of a set of samples.

/// The value below which this share of `values` lies, or 0 if there are no values. The share is
/// from 0 to 1: 0.5 is the median.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values
        .get((last * share).round() as usize)
        .copied()
        .unwrap_or_default()
}
