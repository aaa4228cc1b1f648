use proptest::prelude::*;
use serde_json::value::Value;

use super::*;

fn refusal(text: impl AsRef<[u8]>) -> JsonErrorKind {
    let text = text.as_ref();
    match validate(text, &JsonLimits::new()) {
        Ok(_) => panic!("{} is accepted", String::from_utf8_lossy(text)),
        Err(error) => error.kind(),
    }
}

fn accept(text: &str) {
    let accepted = validate(text.as_bytes(), &JsonLimits::new());
    assert_eq!(accepted.map(|text| text.as_str()), Ok(text));
}

#[test]
fn json_is_accepted() {
    for text in [
        "{}",
        "[]",
        " [ ] ",
        "\t{\r\n} ",
        "null",
        "true",
        "false",
        "\"\"",
        "0",
        "[1,2,3]",
        "[1 , 2\n]",
        "[[],{}]",
        "[{},[[]]]",
        r#"{"a":1,"b":{"a":1,"b":[{"a":2}]},"c":{"a":1}}"#,
        r#"[{"a":1},{"a":1}]"#,
        r#"{ "a" : 1 , "b" : 2 }"#,
        r#"{"":0}"#,
        r#"{"a":"a","A":"a","a ":0," a":0}"#,
        r#"{"\u0061":1,"A":2}"#,
        r#"{"a\u0000":1,"a":2}"#,
        r#"{"__proto__":1,"constructor":2,"toString":3}"#,
        // Numbers of every form, however large or precise.
        "[-0,0,-1,10,1.5,-0.0,0e0,1E1,1e+1,1e-1,0.1e22]",
        "[1e400,-1e400,1e-400,123456789012345678901234567890,18446744073709551616]",
        "[0.1000000000000000000000000000000000000001,1.10,20e1]",
        // Strings.
        r#"["\"\\\/\b\f\n\r\t"]"#,
        r#"["\u0000","\u0061","\uFFFF","\u00e9","\uDBFF\uDFFF","\ud83d\ude39","\uFDD0"]"#,
        "[\"\u{7f}\u{2028}\u{2029}\u{e9}\u{1f639}\u{10ffff}\u{fffe}\u{feff}\"]",
        r#"["</script>","/*","//","\\u0061","\\\"","12345678","1234567","123456789"]"#,
        r#"["a very long string that does not fit into one word, nor into two"]"#,
    ] {
        accept(text);
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        // Nothing, or more than one thing.
        "",
        " ",
        "\n\t\r",
        "{}{}",
        "{} x",
        "{}\0",
        "1 2",
        "{}\n{}",
        "[]]",
        "{}}",
        "\"\"\"",
        "1,",
        ",",
        ":",
        // Unclosed or wrongly closed.
        "[",
        "{",
        "[1",
        "[1,",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "\"",
        "\"a",
        "[\"a",
        "[}",
        "{]",
        "[1}",
        "{\"a\":1]",
        "]",
        "}",
        // Commas and colons.
        "[,]",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1:2]",
        "{,}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\"}",
        "{\"a\",1}",
        "{\"a\":1,,\"b\":1}",
        "{\"a\":1 \"b\":1}",
        "{\"a\"::1}",
        "{:1}",
        "{\"a\":}",
        "{\"a\" 1}",
        // Names that are no strings.
        "{a:1}",
        "{1:1}",
        "{'a':1}",
        "{null:1}",
        "{[]:1}",
        "{\"a\":1,b:1}",
        // Words.
        "nul",
        "nulls",
        "True",
        "tru",
        "FALSE",
        "fals",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "undefined",
        "[n]",
        "[truee]",
        "[-NaN]",
        // Numbers.
        "01",
        "-01",
        "00",
        "+1",
        "-",
        "--1",
        "-a",
        ".5",
        "-.5",
        "1.",
        "1.e1",
        "1.5.5",
        "1e",
        "1e+",
        "1e-",
        "1e+-1",
        "1e1.5",
        "0x10",
        "1_000",
        "1a",
        "0e",
        "1 000",
        "\u{ff11}",
        "[1-1]",
        "[-]",
        "[0.e1]",
        // Strings.
        "'a'",
        "\"\\x\"",
        "\"\\a\"",
        "\"\\\"",
        "\"\\",
        "\"\\u",
        "\"\\u00\"",
        "\"\\u00G0\"",
        "\"\\u+061\"",
        "\"\\U0061\"",
        "\"\\'\"",
        "\"\\0\"",
        "\"\\ \"",
        "\"\\u{61}\"",
        "\"\\\u{e9}\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "\"\u{1f}\"",
        "\"12345678\u{1f}\"",
        "\"1234567\n12345678\"",
        "{\"a\n\":1}",
        r#""\ud800\u""#,
        r#""\ud800"#,
        r#""\ud800\"#,
        // White space and comments that JSON does not have.
        "{}\u{feff}",
        "\u{a0}1",
        "\u{c}1",
        "\u{b}1",
        "1\u{2028}",
        "\u{2060}[]",
        "/**/1",
        "1//",
        "#\n1",
        "<html>",
        "*",
        "a=1",
    ] {
        let kind = refusal(text);
        // Behind a whole object or array, a text has another fault.
        let is_behind = kind == JsonErrorKind::TrailingData && text.starts_with(['{', '[']);
        assert!(is_behind || kind == JsonErrorKind::Syntax, "{text:?}: {kind:?}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_refused_by_its_name() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\udc00\ud800""#,
        r#""\ud800\ud800""#,
        r#""\ud800a""#,
        r#""\ud800\n""#,
        r#""\ud800\u0061""#,
        r#""\ud800\"""#,
        r#"{"\ud800":1}"#,
        r#""\uD83D\\uDE39""#,
    ] {
        assert_eq!(refusal(text), JsonErrorKind::LoneSurrogate, "{text:?}");
    }
}

#[test]
fn what_is_not_utf8_is_refused_wherever_it_stands() {
    for text in [
        &b"\xff"[..],
        b"\"\xff\"",
        b"{\"\xff\":1}",
        b"{\"a\":1,\"b\":\"\xc0\xaf\"}",
        b"[\"\xed\xa0\x80\"]",
        b"\"\xf4\x90\x80\x80\"",
        b"\"\xc3\"",
        b"{}\xe9",
        b"\xff\xfe{\0}\0",
    ] {
        assert_eq!(refusal(text), JsonErrorKind::InvalidUtf8, "{text:?}");
    }
}

#[test]
fn a_text_cut_anywhere_is_refused() {
    let text = r#"{"a":[1.5e-7,true,null],"\u00e9":{"b":"\ud83d\ude39 x"}}"#;
    accept(text);
    for length in 0..text.len() {
        assert_eq!(refusal(&text[..length]), JsonErrorKind::Syntax, "{length}");
    }
}

#[test]
fn a_repeated_name_is_refused_at_any_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"":1,"":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\u0061":1,"a":2}"#,
        r#"{"\u0061":1,"\u0061":2}"#,
        r#"{"/":1,"\/":2}"#,
        r#"{"😹":1,"\ud83d\ude39":2}"#,
        r#"[[{"x":{"long enough to need both ends":1,"long enough to need both ends":1}}]]"#,
        r#"{"a":{"a":{"a":1}},"b":{"a":[{"c":1,"c":1}]}}"#,
        r#"{"a":{"x":1,"y":2},"b":1,"a":1}"#,
        r#"{"\u0062":{"\u0063":1},"\u0064":1,"b":1}"#,
    ] {
        assert_eq!(refusal(text), JsonErrorKind::DuplicateName, "{text}");
    }
}

#[test]
fn a_repeated_name_is_found_in_objects_of_every_size() {
    for size in 1..40 {
        for repeated in 0..size {
            let escaped = |name: usize| {
                if name.is_multiple_of(3) { "\\u006e" } else { "n" }
            };
            let members = |name: usize| format!("\"{}{name}\":{{\"n1\":0}},", escaped(name));
            let body: String = (0..size).map(members).collect();

            accept(&format!("{{{body}\"other\":0}}"));
            let text = format!("{{{body}\"n{repeated}\":0}}");
            assert_eq!(refusal(&text), JsonErrorKind::DuplicateName, "{text}");
            let text = format!("{{{body}\"\\u006e{repeated}\":0}}");
            assert_eq!(refusal(&text), JsonErrorKind::DuplicateName, "{text}");
        }
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    accept(&nested(60));
    accept(&nested(128));
    assert_eq!(refusal(nested(129)), JsonErrorKind::TooDeep);
    assert_eq!(refusal(nested(100_000)), JsonErrorKind::TooDeep);
    assert_eq!(refusal("[{\"\":".repeat(100_000)), JsonErrorKind::TooDeep);

    let limits = JsonLimits::new().with_depth(1);
    assert!(validate(b"[1]", &limits).is_ok());
    assert_eq!(validate(b"[[]]", &limits).unwrap_err().kind(), JsonErrorKind::TooDeep);
    assert!(validate(b"1", &limits.with_depth(0)).is_ok());
    assert!(validate(b"[]", &limits.with_depth(0)).is_err());
}

#[test]
fn deep_nesting_does_not_use_the_call_stack() {
    let limits = JsonLimits::new().with_depth(usize::MAX).with_nodes(usize::MAX);
    let text = "[{\"\":".repeat(100_000) + "0" + &"}]".repeat(100_000);

    let deep = std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(move || validate(text.as_bytes(), &limits).map(|text| text.kind()));
    assert_eq!(deep.unwrap().join().unwrap(), Ok(JsonKind::Array));
}

#[test]
fn the_number_of_values_is_limited() {
    let limits = JsonLimits::new().with_nodes(5);
    for (text, fits) in [
        ("[1,2,3,4]", true),
        ("[1,2,3,4,5]", false),
        (r#"{"a":[],"b":{"c":""}}"#, true),
        (r#"{"a":[],"b":{"c":""},"d":null}"#, true),
        (r#"{"a":[],"b":{"c":""},"d":null,"e":1}"#, false),
        ("[[[[[]]]]]", true),
        ("[[[[[[]]]]]]", false),
    ] {
        let checked = validate(text.as_bytes(), &limits).map(|text| text.kind());
        let kind = checked.map_err(|error| error.kind());
        assert_eq!(kind.is_ok(), fits, "{text}");
        assert!(fits || kind == Err(JsonErrorKind::TooManyNodes));
    }

    for piece in ["0,", "[],", "{\"\":0},"] {
        let text = format!("[{}0]", piece.repeat(1024 * 1024 / piece.len()));
        assert_eq!(refusal(text), JsonErrorKind::TooManyNodes);
    }
    let text = format!("[{}0]", "0,".repeat(19_998));
    accept(&text);
}

#[test]
fn names_chosen_to_collide_do_not_slow_the_check_down() {
    // The first and the last eight bytes and the length are equal: all fingerprints are.
    let member = |number: usize| format!("\"12345678-{number:020}-12345678\":0,");
    let text = format!("{{{}\"\":0}}", (0..19_000).map(member).collect::<String>());

    let begin = std::time::Instant::now();
    accept(&text);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn one_long_name_is_compared_whole() {
    let name = "\\u0041".repeat(170_000);
    accept(&format!("{{\"{name}\":0,\"{name}B\":0}}"));
    let text = format!("{{\"{name}\":0,\"{}\":0}}", "A".repeat(170_000));
    assert_eq!(refusal(text), JsonErrorKind::DuplicateName);
}

#[test]
fn the_offset_shows_the_place() {
    for (text, offset) in [
        (&b""[..], 0),
        (b"  ", 2),
        (b"{} x", 3),
        (b"[1,]", 3),
        (b"[01]", 2),
        (b"\"ab\ncd\"", 3),
        (b"[\"abcdefghijk\xff\"]", 13),
        (b"{\"a\":1,\"a\":2}", 10),
        (b"\xef\xbb\xbf{}", 0),
    ] {
        assert_eq!(validate(text, &JsonLimits::new()).unwrap_err().offset(), offset, "{text:?}");
    }
}

#[test]
fn members_are_shown_with_their_places() {
    let text =
        r#" { "a" : [1, {"x":2}] ,"\u0062":"c\n\u00e9","d":-1e400, "e":null,"f":true,"g":{}} "#;
    let mut members = Vec::new();
    let checked =
        visit_members(text.as_bytes(), &JsonLimits::new(), |member| members.push(member)).unwrap();

    assert_eq!(checked.kind(), JsonKind::Object);
    let shown: Vec<_> = members
        .iter()
        .map(|member| (member.name().into_owned(), member.kind(), member.value()))
        .collect();
    let expected = [
        ("a", JsonKind::Array, r#"[1, {"x":2}]"#),
        ("b", JsonKind::String, r#""c\n\u00e9""#),
        ("d", JsonKind::Number, "-1e400"),
        ("e", JsonKind::Null, "null"),
        ("f", JsonKind::Boolean, "true"),
        ("g", JsonKind::Object, "{}"),
    ];
    assert_eq!(shown, expected.map(|(name, kind, value)| (name.to_owned(), kind, value)));
    assert_eq!(members[1].as_text().unwrap(), "c\né");
    assert_eq!(members[0].as_text(), None);
    assert_eq!(&text[members[0].span()], r#""a" : [1, {"x":2}]"#);
    assert_eq!(&text[members[0].value_span()], members[0].value());
}

#[test]
fn elements_are_shown_with_their_places() {
    let text = r#" [ [1,[2]] ,"c\n\u00e9",-1e400, {"x":[null]},null,true] "#;
    let mut elements = Vec::new();
    let checked =
        visit_elements(text.as_bytes(), &JsonLimits::new(), |element| elements.push(element))
            .unwrap();

    assert_eq!(checked.kind(), JsonKind::Array);
    let shown: Vec<_> = elements.iter().map(|element| (element.kind(), element.value())).collect();
    let expected = [
        (JsonKind::Array, "[1,[2]]"),
        (JsonKind::String, r#""c\n\u00e9""#),
        (JsonKind::Number, "-1e400"),
        (JsonKind::Object, r#"{"x":[null]}"#),
        (JsonKind::Null, "null"),
        (JsonKind::Boolean, "true"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(elements[1].as_text().unwrap(), "c\né");
    assert_eq!(elements[0].as_text(), None);
    assert_eq!(&text[elements[3].span()], elements[3].value());
}

#[test]
fn only_an_array_at_the_top_has_elements() {
    for text in [r#"{"a":[1]}"#, r#""a""#, "1", "null", "[]", " [ ] "] {
        visit_elements(text.as_bytes(), &JsonLimits::new(), |element| panic!("{element:?}"))
            .unwrap();
    }
}

#[test]
fn only_an_object_at_the_top_has_members() {
    for text in [r#"[{"a":1}]"#, r#""a""#, "1", "null", "{}", r#"[[{"a":1}],{"b":2}]"#] {
        visit_members(text.as_bytes(), &JsonLimits::new(), |member| panic!("{member:?}")).unwrap();
    }
}

#[test]
fn escapes_are_undone() {
    let text = r#"{"\"\\\/\b\f\n\r\t\u0041\u00E9\ud83d\ude39\u0000é":"\\u0041\\"}"#;
    visit_members(text.as_bytes(), &JsonLimits::new(), |member| {
        assert_eq!(member.name(), "\"\\/\u{8}\u{c}\n\r\tAé😹\0é");
        assert_eq!(member.as_text().unwrap(), "\\u0041\\");
    })
    .unwrap();
}

#[test]
fn removal_takes_one_member_and_one_comma() {
    for (text, rest) in [
        (r#"{"k":1}"#, "{}"),
        (r#"{ "k" : 1 }"#, "{  }"),
        (r#"{"k":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{ "k":1 , "a":2 }"#, r#"{ "a":2 }"#),
        (r#"{"a":1.10,"k":[1,{"k":2}],"b":-0}"#, r#"{"a":1.10,"b":-0}"#),
        (r#"{"a":1 , "k":2 }"#, r#"{"a":1 }"#),
        (r#"{"a":{"k":1},"\u006b":"x"}"#, r#"{"a":{"k":1}}"#),
    ] {
        let removed = remove(text.as_bytes(), "k", &JsonLimits::new()).unwrap();
        assert_eq!(removed, rest);
        assert!(matches!(removed, Cow::Owned(_)));
    }
    for text in ["{}", r#"{"a":{"k":1}}"#, r#"[{"k":1}]"#, r#""k""#, r#"{"K":1,"k ":2}"#] {
        let kept = remove(text.as_bytes(), "k", &JsonLimits::new()).unwrap();
        assert!(matches!(kept, Cow::Borrowed(kept) if kept == text));
    }
    assert!(remove(br#"{"k":1,"a":}"#, "k", &JsonLimits::new()).is_err());
}

#[test]
fn debug_shows_no_content() {
    let text = validate(br#"{"a":"hunter2"}"#, &JsonLimits::new()).unwrap();
    assert_eq!(format!("{text:?}"), "JsonText { kind: Object, length: 15 }");
}

/// JSON texts of all shapes, with white space and with escapes in some strings.
fn texts() -> impl Strategy<Value = String> {
    let string = "([a-c \\u{e9}\\u{1f639}]|\\\\u006[1-3]|\\\\n|\\\\ud83d\\\\ude39){0,10}"
        .prop_map(|inside| format!("\"{inside}\""));
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        string.clone(),
    ];
    let space = || "[ \n\t\r]{0,2}";
    leaf.prop_recursive(5, 60, 20, move |inner| {
        let items = proptest::collection::vec((space(), inner.clone(), space()), 0..6);
        let members =
            proptest::collection::vec((space(), string.clone(), inner.clone(), space()), 0..20);
        prop_oneof![
            items.prop_map(|items| {
                let items: Vec<_> = items
                    .into_iter()
                    .map(|(before, item, after)| before + &item + &after)
                    .collect();
                format!("[{}]", items.join(","))
            }),
            members.prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(before, name, value, after)| {
                        format!("{before}{name}{after}:{value}{after}")
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A text with some bytes replaced, so that it is nearly JSON.
fn damaged_texts() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::sample::select(&b"\"\\{}[]:,0-+.eEu \n\xc3\x00"[..]);
    (texts(), proptest::collection::vec((any::<proptest::sample::Index>(), damage), 0..3)).prop_map(
        |(text, damages)| {
            let mut bytes = text.into_bytes();
            for (index, byte) in damages {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            bytes
        },
    )
}

/// Keeps the first fault that serde_json does not look for: a name twice.
struct Distinct(bool);

impl<'de> serde::Deserialize<'de> for Distinct {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor)
    }
}

struct DistinctVisitor;

impl<'de> serde::de::Visitor<'de> for DistinctVisitor {
    type Value = Distinct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_unit<E>(self) -> Result<Distinct, E> {
        Ok(Distinct(true))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Distinct, A::Error> {
        let mut distinct = true;
        while let Some(item) = seq.next_element::<Distinct>()? {
            distinct &= item.0;
        }
        Ok(Distinct(distinct))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
        let mut names = std::collections::HashSet::new();
        let mut distinct = true;
        while let Some(name) = map.next_key::<String>()? {
            distinct &= names.insert(name);
            distinct &= map.next_value::<Distinct>()?.0;
        }
        Ok(Distinct(distinct))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_check_agrees_with_serde_json(bytes in damaged_texts()) {
        let ours = validate(&bytes, &JsonLimits::new()).map_err(|error| error.kind());
        let distinct = serde_json::from_slice::<Distinct>(&bytes);
        match (ours, distinct) {
            (Ok(_), Ok(Distinct(distinct))) => prop_assert!(distinct),
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().contains("out of range"), "{error}");
            }
            (Err(kind), Ok(Distinct(distinct))) => {
                prop_assert!(!distinct && kind == JsonErrorKind::DuplicateName, "{kind:?}");
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn a_repeated_name_is_found_where_serde_json_sees_one(text in texts()) {
        let ours = validate(text.as_bytes(), &JsonLimits::new()).map_err(|error| error.kind());
        let Distinct(distinct) = serde_json::from_str(&text).unwrap();
        let expected = if distinct { None } else { Some(JsonErrorKind::DuplicateName) };
        prop_assert_eq!(ours.err(), expected);
    }

    #[test]
    fn any_bytes_are_refused_or_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let ours = validate(&bytes, &JsonLimits::new()).is_ok();
        prop_assert_eq!(ours, serde_json::from_slice::<Value>(&bytes).is_ok());
    }

    #[test]
    fn removal_leaves_all_other_members(text in texts()) {
        let limits = JsonLimits::new();
        let mut members = Vec::new();
        if visit_members(text.as_bytes(), &limits, |member| members.push(member)).is_err() {
            return Ok(());
        }
        for gone in &members {
            let rest = remove(text.as_bytes(), &gone.name(), &limits).unwrap();
            let mut kept = Vec::new();
            visit_members(rest.as_bytes(), &limits, |member| {
                kept.push((member.name().into_owned(), member.value().to_owned()));
            })
            .unwrap();
            let expected: Vec<_> = members
                .iter()
                .filter(|member| member.span() != gone.span())
                .map(|member| (member.name().into_owned(), member.value().to_owned()))
                .collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
