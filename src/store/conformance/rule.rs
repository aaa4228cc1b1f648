use std::fmt;

/// A rule of [`KeyStore`](crate::key::KeyStore), as its docs number it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// Rule 1.
    AppliedIsSeen,
    /// Rule 2.
    ConflictChangesNothing,
    /// Rule 3.
    FaultIsAnError,
    /// Rule 4.
    FindAnswersById,
    /// Rule 5.
    RecordsComeBackAsGiven,
    /// Rule 6.
    InsertNeverOverwrites,
    /// Rule 7.
    ReplaceComparesVersions,
    /// Rule 8.
    RemoveIsAllOrNothing,
    /// Rule 9.
    RemoveAsksForTheOwner,
    /// Rule 10.
    ListShowsOneOwner,
    /// Rule 11.
    ListIsInOrder,
    /// Rule 12.
    ListGoesOnAfterTheCursor,
    /// Rule 13.
    ListKeepsToTheLimit,
    /// Rule 14.
    PagesAreStable,
    /// Rule 15.
    ChangeIsOneStep,
    /// Rule 16.
    TryFindNowAgreesWithFind,
    /// Rule 17.
    DroppedCallIsWholeOrNothing,
    /// Rule 18.
    AppliedOutlivesTheStore,
    /// Rule 19.
    ReplaceKnowsNoEarlierRecord,
}

impl Rule {
    /// The number under which the docs of [`KeyStore`](crate::key::KeyStore) have the rule.
    pub(super) fn number(self) -> usize {
        self.entry().0
    }

    /// The sentence with which the docs of [`KeyStore`](crate::key::KeyStore) begin the rule.
    pub(super) fn name(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (usize, &'static str) {
        match self {
            Self::AppliedIsSeen => (1, "`Applied` is seen"),
            Self::ConflictChangesNothing => (2, "`Conflict` changes nothing"),
            Self::FaultIsAnError => (3, "A fault is an error"),
            Self::FindAnswersById => (4, "`find` answers by id"),
            Self::RecordsComeBackAsGiven => (5, "Records round-trip"),
            Self::InsertNeverOverwrites => (6, "`insert` never overwrites"),
            Self::ReplaceComparesVersions => (7, "`replace` is compare-and-set"),
            Self::RemoveIsAllOrNothing => (8, "`remove` is all or nothing"),
            Self::RemoveAsksForTheOwner => (9, "`remove` checks the owner"),
            Self::ListShowsOneOwner => (10, "`list` has the keys of one owner"),
            Self::ListIsInOrder => (11, "`list` is ordered"),
            Self::ListGoesOnAfterTheCursor => (12, "`list` continues after the cursor"),
            Self::ListKeepsToTheLimit => (13, "`list` keeps to the limit"),
            Self::PagesAreStable => (14, "Pages are stable"),
            Self::ChangeIsOneStep => (15, "A change is atomic"),
            Self::TryFindNowAgreesWithFind => (16, "`try_find_now` agrees with `find`"),
            Self::DroppedCallIsWholeOrNothing => (17, "A dropped call is atomic"),
            Self::AppliedOutlivesTheStore => (18, "`Applied` is durable"),
            Self::ReplaceKnowsNoEarlierRecord => (19, "`replace` ignores earlier records of an id"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} ({})", self.number(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_of_the_trait_have_every_rule_under_its_number() {
        use Rule::*;

        let docs = include_str!("../../key/store.rs");
        let rules = [
            AppliedIsSeen,
            ConflictChangesNothing,
            FaultIsAnError,
            FindAnswersById,
            RecordsComeBackAsGiven,
            InsertNeverOverwrites,
            ReplaceComparesVersions,
            RemoveIsAllOrNothing,
            RemoveAsksForTheOwner,
            ListShowsOneOwner,
            ListIsInOrder,
            ListGoesOnAfterTheCursor,
            ListKeepsToTheLimit,
            PagesAreStable,
            ChangeIsOneStep,
            TryFindNowAgreesWithFind,
            DroppedCallIsWholeOrNothing,
            AppliedOutlivesTheStore,
            ReplaceKnowsNoEarlierRecord,
        ];
        for (index, rule) in rules.into_iter().enumerate() {
            assert_eq!(rule.number(), index + 1);
            let line = format!("/// {}. **{}.**", rule.number(), rule.name());
            assert!(docs.contains(&line), "{line}");
        }
        assert!(!docs.contains("/// 20. **"));
    }
}
