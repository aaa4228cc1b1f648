//! Figures out of many measurements.

use std::time::Duration;

/// The median of some figures, and the quartiles around it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures = Vec::from_iter(figures);
        figures.sort_by(f64::total_cmp);
        let at = |quarter| figures.get(figures.len() * quarter / 4).copied().unwrap_or_default();
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// Nanoseconds for each.
pub(crate) fn per(duration: Duration, count: usize) -> f64 {
    duration.as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_quartiles_are_figures_in_order() {
        let Spread { low, median, high } = Spread::of([5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((low, median, high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of([]).median, 0.0);
    }
}
