/// The middle half of a set of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Quartiles {
    /// A quarter is below.
    pub lower: f64,
    /// Half are below.
    pub median: f64,
    /// A quarter is above.
    pub upper: f64,
}

impl Quartiles {
    /// Of these numbers. Of none, not numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at =
            |quarter: usize| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { lower: at(1), median: at(2), upper: at(3) }
    }

    /// A number that is known exactly.
    #[must_use]
    pub const fn exactly(value: f64) -> Self {
        Self { lower: value, median: value, upper: value }
    }
}
