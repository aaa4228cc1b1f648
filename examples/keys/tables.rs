//! Keys as people read them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tower_webhook::key::KeyRecord;
use tower_webhook::key::KeyView;

/// One key, with a line for each of its parts.
pub(crate) fn details(view: &KeyView<'_>) -> String {
    let record = view.record();
    let row = |name: &str, value: String| [name.to_owned(), value];
    table(&[
        row("id", record.id().to_string()),
        row("name", record.name().to_owned()),
        row("owner", record.owner().to_string()),
        row("scopes", scopes(record)),
        row("state", view.state().as_str().to_owned()),
        row("rate limit", rate_limit(record)),
        row("created", moment(Some(record.created_at()), "")),
        row("works from", moment(record.not_before(), "at once")),
        row("expires", moment(record.expires_at(), "never")),
        row("revoked", moment(record.revoked_at(), "no")),
    ])
}

/// Keys with a line for each of them, and when they were last used, if that is known.
pub(crate) fn overview<'a>(
    keys: impl Iterator<Item = (KeyView<'a>, Option<OffsetDateTime>)>,
) -> String {
    let head =
        ["ID", "OWNER", "NAME", "SCOPES", "STATE", "EXPIRES", "LAST USED"].map(str::to_owned);
    let rows = keys.map(|(view, used)| {
        let record = view.record();
        [
            record.id().to_string(),
            record.owner().to_string(),
            record.name().to_owned(),
            scopes(record),
            view.state().as_str().to_owned(),
            moment(record.expires_at(), "never"),
            moment(used, "-"),
        ]
    });
    table(&[head].into_iter().chain(rows).collect::<Vec<_>>())
}

fn scopes(record: &KeyRecord) -> String {
    match record.scopes() {
        scopes if scopes.is_all() => "all scopes".to_owned(),
        scopes if scopes.is_none() => "none".to_owned(),
        scopes => scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

/// Calls at once, and then one for each period.
fn rate_limit(record: &KeyRecord) -> String {
    record.rate_limit().map_or_else(
        || "none".to_owned(),
        |quota| format!("{} at once, then one each {:?}", quota.burst(), quota.period()),
    )
}

/// A point in time to the second, or the text for none.
pub(crate) fn moment(time: Option<OffsetDateTime>, none: &str) -> String {
    time.and_then(|time| time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok())
        .unwrap_or_else(|| none.to_owned())
}

/// Columns as wide as their widest text, two blanks apart.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            format!("{cell:width$}", width = width(column).unwrap_or_default())
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
