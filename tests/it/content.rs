//! What bodies and their labels say, read through the public interface.

use tower_webhook::content::ContentLimits;
use tower_webhook::content::json::JsonLimits;
use tower_webhook::content::{MediaType, find_field};

#[test]
fn only_a_broken_grammar_is_a_syntax_error() {
    let limits = ContentLimits::new().with_json(JsonLimits::new().with_depth(3).with_nodes(5));
    for (body, is_syntax) in [
        (&b"{"[..], true),
        (br#"{"k":"x",}"#, true),
        (br#"{"k":"x"}{}"#, true),
        (br#"{"a":"\q"}"#, true),
        (b"k=x", true),
        (br#"{"k":"x","k":"y"}"#, false),
        (br#"{"a":{"b":1,"b":1},"k":"x"}"#, false),
        (br#"{"a":[[[]]],"k":"x"}"#, false),
        (br#"{"a":[1,2,3,4,5],"k":"x"}"#, false),
        (b"{\"a\":\"\xff\",\"k\":\"x\"}", false),
        (br#"{"a":"\ud800","k":"x"}"#, false),
        (br#"{"a":"\udc00\ud800","k":"x"}"#, false),
        (b"\xef\xbb\xbf{\"k\":\"x\"}", false),
    ] {
        let error = find_field(&MediaType::Json, body, "k", &limits).unwrap_err();
        let json = error.json().expect("a fault of the JSON text");
        assert_eq!(json.is_syntax(), is_syntax, "{} {json:?}", String::from_utf8_lossy(body));
    }
}
