use crate::util::conformance::NumberedRule;

/// A rule of [`KeyStore`](crate::key::KeyStore). The order is that of its docs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
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
}

/// The sentence with which the docs of [`KeyStore`](crate::key::KeyStore) begin each rule.
const NAMES: [&str; 19] = [
    "`Applied` is seen",
    "`Conflict` changes nothing",
    "A fault is an error",
    "`find` answers by id",
    "Records round-trip",
    "`insert` never overwrites",
    "`replace` is compare-and-set",
    "`remove` is all or nothing",
    "`remove` checks the owner",
    "`list` has the keys of one owner",
    "`list` is ordered",
    "`list` continues after the cursor",
    "`list` keeps to the limit",
    "Pages are stable",
    "A change is atomic",
    "`try_find_now` agrees with `find`",
    "A dropped call is atomic",
    "`Applied` is durable",
    "`replace` ignores earlier records of an id",
];

impl NumberedRule for Rule {
    const SUBJECT: &'static str = "key store";
    const TRAIT: &'static str = "tower_webhook::key::KeyStore";

    fn number(self) -> usize {
        self as usize + 1
    }

    fn name(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_of_the_trait_have_every_rule_under_its_number() {
        let docs = include_str!("../../key/store.rs");
        for (index, name) in NAMES.iter().enumerate() {
            let line = format!("/// {}. **{name}.**", index + 1);
            assert!(docs.contains(&line), "{line}");
        }
        assert!(!docs.contains("/// 20. **"));
        assert_eq!(Rule::AppliedIsSeen.name(), "`Applied` is seen");
        let last = Rule::ReplaceKnowsNoEarlierRecord;
        let name = "`replace` ignores earlier records of an id";
        assert_eq!((last.number(), last.name()), (19, name));
    }
}
