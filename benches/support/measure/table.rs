use super::{Case, Quartiles};

/// More than this between two measurements of one case, and nothing is judged.
const MOST_NOISE: f64 = 0.05;

/// Cases that are measured side by side.
#[derive(Debug)]
pub struct Table {
    title: String,
    cases: Vec<Case>,
}

impl Table {
    /// A table whose first case is the one that `floor` makes, in two copies.
    pub fn new(title: impl Into<String>, floor: impl Fn() -> Case) -> Self {
        let again = floor();
        let name = format!("{} (again)", again.name());
        Self { title: title.into(), cases: vec![floor(), again.renamed(name)] }
    }

    /// Adds a case.
    #[must_use]
    pub fn with(mut self, case: Case) -> Self {
        self.cases.push(case);
        self
    }

    /// What the table is about.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Visits every case so many times.
    pub fn measure(&mut self, rounds: usize) {
        self.cases.iter_mut().for_each(Case::forget);
        let count = self.cases.len();
        let step = (5..).find(|step| shares_no_factor(*step, count)).unwrap_or(1);
        for round in 0..rounds {
            // A rotation by a step that shares no factor with the length is a shuffle without a generator.
            for position in 0..count {
                self.cases[(position * step + round * 3) % count].visit();
            }
        }
    }

    pub(super) fn cases(&self) -> &[Case] {
        &self.cases
    }

    pub(super) fn visits(&self, name: &str) -> &[f64] {
        let case = self.cases.iter().find(|case| case.name() == name);
        case.unwrap_or_else(|| panic!("no case is called {name}")).visits()
    }

    /// What each round of this case took longer than the first case did.
    pub(super) fn added(&self, name: &str) -> Vec<f64> {
        let floor = self.cases[0].visits();
        self.visits(name).iter().zip(floor).map(|(own, floor)| own - floor).collect()
    }

    /// By how much the first case differs from itself.
    #[must_use]
    pub fn noise(&self) -> f64 {
        let pairs = self.cases[0].visits().iter().zip(self.cases[1].visits());
        (Quartiles::of(pairs.map(|(one, other)| other / one)).median - 1.0).abs()
    }

    /// Whether the first case differs from itself by so much that nothing can be said.
    #[must_use]
    pub fn is_noisy(&self) -> bool {
        let noise = self.noise();
        noise.is_nan() || noise > MOST_NOISE
    }

    /// Prints one row per case.
    pub fn print(&self) {
        println!(
            "\n{:<44} {:>10} {:>21} {:>10} {:>6}",
            self.title, "ns", "quartiles", "over", "times"
        );
        for case in &self.cases {
            let own = Quartiles::of(case.visits().iter().copied());
            let over = Quartiles::of(self.added(case.name())).median;
            let pairs = case.visits().iter().zip(self.cases[0].visits());
            let times = Quartiles::of(pairs.map(|(own, floor)| own / floor)).median;
            let Quartiles { lower, median, upper } = own;
            println!(
                "{:<44} {median:>10.0} {lower:>10.0} {upper:>10.0} {over:>10.0} {times:>6.2}",
                case.name()
            );
        }
    }
}

fn shares_no_factor(a: usize, b: usize) -> bool {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}
