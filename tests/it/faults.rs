//! The table of faults, `tests/faults.md`, names tests that exist.

use std::fs;
use std::path::Path;

const FOLDERS: [(&str, &str); 5] = [
    ("SRC/", "src/key/"),
    ("IT/", "tests/it/"),
    ("S/", "tests/sqlite/"),
    ("P/", "tests/postgres/"),
    ("R/", "tests/redis/"),
];

#[test]
fn every_test_in_the_table_of_faults_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/faults.md")).unwrap();
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let number = row.split('|').nth(1).unwrap().trim();
        if number.is_empty() {
            continue;
        }
        rows += 1;
        assert_eq!(number, rows.to_string(), "the rows are numbered");
        let mut tests = 0;
        for (file, name) in row.split('`').filter_map(|text| text.split_once(".rs::")) {
            let folder = FOLDERS.iter().find(|(short, _)| file.starts_with(short));
            let (short, folder) = folder.unwrap_or(&("", ""));
            let path = root.join(format!("{folder}{}.rs", file.strip_prefix(short).unwrap()));
            let source = fs::read_to_string(&path).unwrap_or_default();
            assert!(source.contains(&format!("fn {name}(")), "{number}: {} {name}", path.display());
            tests += 1;
        }
        assert!(tests > 0 || row.contains("None:"), "{number} has a test or a reason");
    }
    assert_eq!(rows, 62);
}
