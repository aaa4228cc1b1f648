use crate::util::conformance::numbered_rules;

numbered_rules!("key store", "tower_webhook::key::KeyStore", "../../key/store.rs", {
    AppliedIsSeen: "`Applied` is seen",
    ConflictChangesNothing: "`Conflict` changes nothing",
    FaultIsAnError: "A fault is an error",
    FindAnswersById: "`find` answers by id",
    RecordsComeBackAsGiven: "Records round-trip",
    InsertNeverOverwrites: "`insert` never overwrites",
    ReplaceComparesVersions: "`replace` is compare-and-set",
    RemoveIsAllOrNothing: "`remove` is all or nothing",
    RemoveAsksForTheOwner: "`remove` checks the owner",
    ListShowsOneOwner: "`list` has the keys of one owner",
    ListIsInOrder: "`list` is ordered",
    ListGoesOnAfterTheCursor: "`list` continues after the cursor",
    ListKeepsToTheLimit: "`list` keeps to the limit",
    PagesAreStable: "Pages are stable",
    ChangeIsOneStep: "A change is atomic",
    TryFindNowAgreesWithFind: "`try_find_now` agrees with `find`",
    DroppedCallIsWholeOrNothing: "A dropped call is atomic",
    AppliedOutlivesTheStore: "`Applied` is durable",
    ReplaceKnowsNoEarlierRecord: "`replace` ignores earlier records of an id",
});
