//! What the bodies of the management may say, and how their faults are reported.

use std::borrow::Cow;

use serde::Serialize;
use time::{Duration, OffsetDateTime, UtcOffset};
use tower_webhook::content::MediaType;
use tower_webhook::content::json::JsonKind;
use tower_webhook::rate_limit::Quota;

use crate::json::{Json, Members, members};

/// One fault: what is wrong, and where. Nothing of the input is in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fault {
    r#type: &'static str,
    loc: Vec<Step>,
    msg: &'static str,
}

/// A step of the way to a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Step {
    Name(Cow<'static, str>),
    Index(usize),
}

impl Fault {
    pub(crate) fn new(r#type: &'static str, loc: impl IntoIterator<Item = Step>) -> Self {
        Self { r#type, loc: loc.into_iter().collect(), msg: message(r#type) }
    }

    /// A fault of the body as a whole.
    pub(crate) fn of_body(r#type: &'static str) -> Self {
        Self::new(r#type, [Step::from("body")])
    }
}

impl From<&'static str> for Step {
    fn from(name: &'static str) -> Self {
        Self::Name(name.into())
    }
}

fn message(r#type: &str) -> &'static str {
    match r#type {
        "missing" => "Field required",
        "json_invalid" => "JSON decode error",
        "model_attributes_type" => "Input should be a valid object",
        "string_type" => "Input should be a valid string",
        "string_too_short" => "String should have at least 1 character",
        "list_type" => "Input should be a valid list",
        "too_short" => "List should have at least 1 item",
        "dict_type" => "Input should be a valid dictionary",
        "int_type" => "Input should be a valid integer",
        "float_type" => "Input should be a valid number",
        "bool_type" => "Input should be a valid boolean",
        "greater_than" => "Input should be greater than 0",
        "less_than_equal" => "The time is beyond the year 9999",
        "literal_error" => "Input should be 'seconds', 'minutes', 'hours' or 'days'",
        _ => "Input is not valid",
    }
}

/// A body where an object is expected.
pub(crate) enum Body<'a> {
    /// Zero bytes, or JSON's null.
    Nothing,
    Object(Members<'a>),
}

impl<'a> Body<'a> {
    /// Reads a JSON body.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.is_empty() {
            return Ok(Self::Nothing);
        }
        match members(bytes) {
            Ok((JsonKind::Object, members)) => Ok(Self::Object(members)),
            Ok((JsonKind::Null, _)) => Ok(Self::Nothing),
            Ok(_) => Err(Fault::of_body("model_attributes_type")),
            Err(error) => {
                let place = [Step::from("body"), Step::Index(error.offset())];
                Err(Fault::new("json_invalid", place))
            }
        }
    }
}

/// A key that is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct KeyRequest {
    pub(crate) name: String,
    pub(crate) walkers: Vec<String>,
    pub(crate) nodes: Vec<String>,
    pub(crate) lifetime: Duration,
    /// How many calls the key allows, if the configuration lets callers say so.
    pub(crate) quota: Option<Quota>,
}

/// The place of an interval in the body of a new key, and in that of an extension.
pub(crate) const EXPIRATION: &[&str] = &["body", "expiration"];
pub(crate) const EXTENSION: &[&str] = &["body"];

/// The body of `generate-key`. A rate limit is a member like any other that is not known, unless `takes_quota`.
pub(crate) fn key_request(
    media: Option<&MediaType>,
    body: &[u8],
    now: OffsetDateTime,
    takes_quota: bool,
) -> Result<KeyRequest, Vec<Fault>> {
    let members = management_body(media, body)?;
    let mut faults = Faults::default();
    let name = faults.keep(name(&members));
    let walkers = faults.keep(optional_texts(&members, "walkers"));
    let nodes = faults.keep(optional_texts(&members, "nodes"));
    let lifetime = faults.keep(match members.get("expiration") {
        None => interval(&Members::new(), EXPIRATION, now),
        Some(value) if value.kind() == JsonKind::Object => {
            interval(&value.members(), EXPIRATION, now)
        }
        Some(_) => Err(vec![Fault::new("model_attributes_type", at(EXPIRATION))]),
    });
    let quota = members.get("rate_limit_per_minute").filter(|_| takes_quota);
    let quota = faults.keep(quota.map_or(Ok(None), quota_per_minute));
    match (name, walkers, nodes, lifetime, quota) {
        (Some(name), Some(walkers), Some(nodes), Some(lifetime), Some(quota)) => {
            Ok(KeyRequest { name, walkers, nodes, lifetime, quota })
        }
        _ => Err(faults.0),
    }
}

/// The body of `extend`.
pub(crate) fn extension(
    media: Option<&MediaType>,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<Duration, Vec<Fault>> {
    interval(&management_body(media, body)?, EXTENSION, now)
}

/// The body of `delete`.
pub(crate) fn ids(media: Option<&MediaType>, body: &[u8]) -> Result<Vec<String>, Vec<Fault>> {
    let members = management_body(media, body)?;
    let place = ["body", "ids"];
    let ids = members.get("ids").ok_or_else(|| vec![Fault::new("missing", at(&place))])?;
    let ids = texts(ids, &place)?;
    if ids.is_empty() {
        return Err(vec![Fault::new("too_short", at(&place))]);
    }
    Ok(ids)
}

/// The fault of a time beyond the year 9999, which a count has brought about.
pub(crate) fn beyond_time(parent: &[&'static str]) -> Fault {
    Fault::new("less_than_equal", member(parent, "count"))
}

fn management_body<'a>(
    media: Option<&MediaType>,
    body: &'a [u8],
) -> Result<Members<'a>, Vec<Fault>> {
    let is_json = matches!(media, Some(MediaType::Json | MediaType::Absent));
    if !is_json && !body.is_empty() {
        return Err(vec![Fault::of_body("model_attributes_type")]);
    }
    match Body::read(body) {
        Ok(Body::Object(members)) => Ok(members),
        Ok(Body::Nothing) => Err(vec![Fault::of_body("missing")]),
        Err(fault) => Err(vec![fault]),
    }
}

fn name(members: &Members<'_>) -> Result<String, Vec<Fault>> {
    let fault = |r#type| vec![Fault::new(r#type, at(&["body", "name"]))];
    let name = members.get("name").ok_or_else(|| fault("missing"))?;
    let name = name.to_text().ok_or_else(|| fault("string_type"))?;
    if name.is_empty() { Err(fault("string_too_short")) } else { Ok(name) }
}

fn optional_texts(members: &Members<'_>, name: &'static str) -> Result<Vec<String>, Vec<Fault>> {
    members.get(name).map_or(Ok(Vec::new()), |value| texts(value, &["body", name]))
}

fn texts(value: &Json<'_>, place: &[&'static str]) -> Result<Vec<String>, Vec<Fault>> {
    let elements =
        value.elements().ok_or_else(|| vec![Fault::new("list_type", at(place))])?.into_iter();
    let mut faults = Faults::default();
    let texts = elements.enumerate().filter_map(|(index, text)| {
        let place = at(place).chain([Step::Index(index)]);
        faults.keep(text.ok_or_else(|| vec![Fault::new("string_type", place)]))
    });
    let texts = texts.collect();
    if faults.0.is_empty() { Ok(texts) } else { Err(faults.0) }
}

/// `count` and `interval`: by default 60 days.
fn interval(
    members: &Members<'_>,
    parent: &[&'static str],
    now: OffsetDateTime,
) -> Result<Duration, Vec<Fault>> {
    let mut faults = Faults::default();
    let count =
        faults.keep(members.get("count").map_or(Ok(60), |value| positive(value, parent, "count")));
    let unit = faults.keep(members.get("interval").map_or(Ok(DAY), |value| unit(value, parent)));
    let (Some(count), Some(unit)) = (count, unit) else { return Err(faults.0) };
    let interval = count.checked_mul(unit).map(Duration::seconds);
    let interval = interval.filter(|interval| {
        let end = now.checked_add(*interval).and_then(|end| end.checked_to_offset(UtcOffset::UTC));
        end.is_some_and(|end| end.year() <= 9999)
    });
    interval.ok_or_else(|| vec![beyond_time(parent)])
}

/// `null` is no limit.
fn quota_per_minute(value: &Json<'_>) -> Result<Option<Quota>, Vec<Fault>> {
    const NAME: &str = "rate_limit_per_minute";
    if value.kind() == JsonKind::Null {
        return Ok(None);
    }
    let calls = positive(value, &["body"], NAME)?;
    let quota = u32::try_from(calls).ok().and_then(|calls| Quota::per_minute(calls).ok());
    quota.map(Some).ok_or_else(|| vec![Fault::new("int_type", member(&["body"], NAME))])
}

/// A count above 0. One that no time can hold is the largest there is.
fn positive(
    value: &Json<'_>,
    parent: &[&'static str],
    name: &'static str,
) -> Result<i64, Vec<Fault>> {
    let fault = |r#type| vec![Fault::new(r#type, member(parent, name))];
    if !value.is_integer() {
        return Err(fault("int_type"));
    }
    match value.as_str().parse() {
        Ok(count) if count > 0 => Ok(count),
        Err(_) if !value.as_str().starts_with('-') => Ok(i64::MAX),
        _ => Err(fault("greater_than")),
    }
}

const DAY: i64 = 86_400;

/// The seconds of an interval.
fn unit(value: &Json<'_>, parent: &[&'static str]) -> Result<i64, Vec<Fault>> {
    match value.to_text().as_deref() {
        Some("seconds") => Ok(1),
        Some("minutes") => Ok(60),
        Some("hours") => Ok(3_600),
        Some("days") => Ok(DAY),
        _ => Err(vec![Fault::new("literal_error", member(parent, "interval"))]),
    }
}

fn at(place: &[&'static str]) -> impl Iterator<Item = Step> {
    place.iter().copied().map(Step::from)
}

fn member(parent: &[&'static str], name: &'static str) -> impl Iterator<Item = Step> {
    at(parent).chain([Step::from(name)])
}

/// The faults so far.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn keep<T>(&mut self, result: Result<T, Vec<Fault>>) -> Option<T> {
        result.map_err(|faults| self.0.extend(faults)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&MediaType> = Some(&MediaType::Json);

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
    }

    fn shown(faults: &[Fault]) -> String {
        let shown = |fault: &Fault| {
            format!("{} {}", fault.r#type, serde_json::to_string(&fault.loc).unwrap())
        };
        faults.iter().map(shown).collect::<Vec<_>>().join("; ")
    }

    fn refused(body: &str) -> String {
        shown(&key_request(JSON, body.as_bytes(), now(), false).unwrap_err())
    }

    #[test]
    fn every_default_is_there() {
        let request =
            key_request(Some(&MediaType::Absent), br#"{"name":"x","more":1}"#, now(), false);
        let expected = KeyRequest {
            name: "x".to_owned(),
            walkers: Vec::new(),
            nodes: Vec::new(),
            lifetime: Duration::days(60),
            quota: None,
        };
        assert_eq!(request.unwrap(), expected);
        assert_eq!(extension(JSON, b"{}", now()).unwrap(), Duration::days(60));
        assert_eq!(extension(JSON, br#"{"count":3}"#, now()).unwrap(), Duration::days(3));
        let hours = extension(JSON, br#"{"interval":"hours"}"#, now());
        assert_eq!(hours.unwrap(), Duration::hours(60));
    }

    #[test]
    fn a_body_that_is_no_object_has_one_fault() {
        assert_eq!(refused(""), r#"missing ["body"]"#);
        assert_eq!(refused("null"), r#"missing ["body"]"#);
        assert_eq!(refused("[]"), r#"model_attributes_type ["body"]"#);
        assert_eq!(refused("5"), r#"model_attributes_type ["body"]"#);
        assert_eq!(refused("  "), r#"json_invalid ["body",2]"#);
        assert_eq!(refused(r#"{"name":"x","name":"y"}"#), r#"json_invalid ["body",18]"#);
        for media in [None, Some(&MediaType::Form), Some(&MediaType::Other)] {
            let faults = key_request(media, br#"{"name":"x"}"#, now(), false).unwrap_err();
            assert_eq!(shown(&faults), r#"model_attributes_type ["body"]"#);
            assert_eq!(shown(&ids(media, b"").unwrap_err()), r#"missing ["body"]"#);
        }
    }

    #[test]
    fn every_fault_has_its_own_entry() {
        let body = r#"{"name":null,"walkers":["a",1,null],"nodes":"x",
            "expiration":{"count":1.5,"interval":"weeks"}}"#;
        let expected = [
            r#"string_type ["body","name"]"#,
            r#"string_type ["body","walkers",1]"#,
            r#"string_type ["body","walkers",2]"#,
            r#"list_type ["body","nodes"]"#,
            r#"int_type ["body","expiration","count"]"#,
            r#"literal_error ["body","expiration","interval"]"#,
        ];
        assert_eq!(refused(body), expected.join("; "));
        assert_eq!(refused("{}"), r#"missing ["body","name"]"#);
        assert_eq!(refused(r#"{"name":""}"#), r#"string_too_short ["body","name"]"#);
        let body = r#"{"name":"x","expiration":null}"#;
        assert_eq!(refused(body), r#"model_attributes_type ["body","expiration"]"#);
        let body = r#"{"name":"x","walkers":null}"#;
        assert_eq!(refused(body), r#"list_type ["body","walkers"]"#);
    }

    #[test]
    fn a_count_is_a_plain_integer_above_0_within_time() {
        for (count, r#type) in [
            ("\"5\"", "int_type"),
            ("1.5", "int_type"),
            ("5.0", "int_type"),
            ("1e2", "int_type"),
            ("true", "int_type"),
            ("null", "int_type"),
            ("0", "greater_than"),
            ("-0", "greater_than"),
            ("-1", "greater_than"),
            ("-99999999999999999999999", "greater_than"),
            ("99999999999999999999999", "less_than_equal"),
            ("9223372036854775807", "less_than_equal"),
            ("3000000", "less_than_equal"),
        ] {
            let body = format!(r#"{{"count":{count}}}"#);
            let faults = extension(JSON, body.as_bytes(), now()).unwrap_err();
            assert_eq!(shown(&faults), format!(r#"{type} ["body","count"]"#), "{count}");
        }
        assert!(extension(JSON, br#"{"count":2900000}"#, now()).is_ok());
    }

    #[test]
    fn ids_are_at_least_one_text() {
        let refused = |body: &str| shown(&ids(JSON, body.as_bytes()).unwrap_err());
        assert_eq!(refused("{}"), r#"missing ["body","ids"]"#);
        assert_eq!(refused(r#"{"ids":{}}"#), r#"list_type ["body","ids"]"#);
        assert_eq!(refused(r#"{"ids":[]}"#), r#"too_short ["body","ids"]"#);
        assert_eq!(refused(r#"{"ids":["a",5]}"#), r#"string_type ["body","ids",1]"#);
        assert_eq!(ids(JSON, br#"{"ids":["a",""]}"#).unwrap(), ["a", ""]);
    }
}
