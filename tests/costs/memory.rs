//! The most that is on the heap at one time, as a multiple of the body that causes it.

use allocation_counter::measure;
use tower_webhook::content::json::{self, JsonErrorKind, JsonLimits};
use tower_webhook::content::{self, ContentLimits, MediaType};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput, EnvelopePart, ReadAs};

/// Nothing depends on it, up to 1 GiB. A longer body takes longer.
const LENGTH: usize = 256 * 1024;

const JSON: JsonLimits = JsonLimits::new().with_depth(usize::MAX).with_nodes(usize::MAX);

/// The size of the body is the only limit.
const LIMITS: ContentLimits =
    ContentLimits::new().with_json(JSON).with_fields(usize::MAX).with_parts(usize::MAX);

/// Pieces up to the length of a body.
fn filled(mut piece: impl FnMut(usize) -> Vec<u8>) -> Vec<u8> {
    let mut body = Vec::new();
    for index in 0.. {
        let piece = piece(index);
        if body.len() + piece.len() > LENGTH {
            break;
        }
        body.extend(piece);
    }
    body
}

/// A number in characters of one's own.
fn spelled(mut number: usize, alphabet: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    loop {
        name.push(alphabet[number % alphabet.len()]);
        number /= alphabet.len();
        if number == 0 {
            return name;
        }
    }
}

/// Body and heap while an envelope is built, as a multiple of the body.
fn cost(content_type: &str, body: &[u8]) -> f64 {
    let builder = EnvelopeBuilder::new().with_limits(LIMITS);
    let builder = builder.with_part(EnvelopePart::Body, "BODY").unwrap();
    let lines = builder.with_media_types(["application/jsonl"], ReadAs::JsonLines).unwrap();
    let builder = lines.with_json_fields(["payload"]).with_insecure_replacement_characters();
    let request = http::Request::post("/?a=1&b=2").header("content-type", content_type);
    let (head, ()) = request.body(()).unwrap().into_parts();
    let mut envelope = None;
    let info = measure(|| {
        envelope = Some(builder.build(&EnvelopeInput::new(&head, body)).unwrap());
    });
    assert!(envelope.unwrap().as_str().len() > 50);
    (body.len() as f64 + info.bytes_max as f64) / body.len() as f64
}

#[track_caller]
fn no_more_than(limit: f64, costs: impl IntoIterator<Item = (&'static str, f64)>) {
    let costs: Vec<_> = costs.into_iter().collect();
    assert!(costs.iter().all(|(_, cost)| *cost <= limit), "{limit}: {costs:?}");
}

#[test]
fn a_form_costs_eight_times_its_size_at_most() {
    let controls: Vec<u8> = (1..0x20).collect();
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    let forms = [
        ("one name", b"&a".repeat(512 * 1024)),
        ("one encoded name", filled(|_| b"%61&".to_vec())),
        ("one name and a value", filled(|_| b"a=b&".to_vec())),
        ("pieces without a name", filled(|_| b"=&".to_vec())),
        ("empty pieces", filled(|_| b"&".to_vec())),
        ("a long value", filled(|_| b"a".to_vec())),
        ("blanks", filled(|_| b"+".to_vec())),
        ("quotes", filled(|_| b"\"".to_vec())),
        ("controls", filled(|_| b"\x01".to_vec())),
        ("encoded controls", filled(|_| b"%01".to_vec())),
        ("broken characters", filled(|_| b"\xff".to_vec())),
        ("many names", filled(|i| [spelled(i, letters), b"&".to_vec()].concat())),
        ("names twice", filled(|i| [spelled(i / 2, letters), b"&".to_vec()].concat())),
        ("names again", filled(|i| [spelled(i % 99_999, letters), b"&".to_vec()].concat())),
        ("controls as names", filled(|i| [spelled(i, &controls), b"&".to_vec()].concat())),
        ("JSON", [&b"payload=["[..], &filled(|_| b"0,".to_vec()), b"0]"].concat()),
        ("encoded JSON", [&b"payload=["[..], &filled(|_| b"%30,".to_vec()), b"0]"].concat()),
        ("much JSON", filled(|_| b"payload={}&".to_vec())),
        ("broken names", filled(|i| [spelled(i, b"\xffa"), b"&".to_vec()].concat())),
    ];
    let costs = forms.map(|(name, body)| (name, cost("application/x-www-form-urlencoded", &body)));
    no_more_than(8.0, costs);
}

#[cfg(feature = "multipart")]
#[test]
fn parts_cost_eight_times_their_size_at_most() {
    let part = |disposition: &str, content: &[u8]| {
        let head = format!("--b\r\nContent-Disposition:form-data;{disposition}\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let long = vec![b'\x01'; 100 * 1024];
    let broken = [&b"--b\r\nContent-Disposition:form-data;name=a;filename=\""[..], &[0xff; 9_999]];
    let broken = [&broken.concat()[..], b"\"\r\n\r\n\r\n"].concat();
    let forms = [
        ("one name", filled(|_| part("name=a", b""))),
        ("many names", filled(|i| part(&format!("name={i}"), b""))),
        ("files", filled(|_| part("name=a;filename=b", b""))),
        (
            "files with a long name",
            filled(|i| part(&format!("name={i};filename=\"{i:900}\""), b"")),
        ),
        ("files with a broken name", filled(|_| broken.clone())),
        ("controls", filled(|_| part("name=a", &long))),
    ];
    let costs = forms.map(|(name, mut body)| {
        body.extend(b"--b--");
        (name, cost("multipart/form-data; boundary=b", &body))
    });
    no_more_than(8.0, costs);
}

#[test]
fn other_bodies_cost_eight_times_their_size_at_most() {
    let half = LENGTH / 2;
    let bodies = [
        ("zeros", "application/json", format!("[{}0]", "0,".repeat(half - 1)).into_bytes()),
        ("arrays", "application/json", [vec![b'['; half], vec![b']'; half]].concat()),
        ("lines", "application/jsonl", filled(|_| b"0\n".to_vec())),
        ("objects in lines", "application/jsonl", filled(|_| b"{\"\":0}\n".to_vec())),
        ("controls", "text/plain", vec![1; LENGTH]),
        ("binary", "text/plain", vec![0xff; LENGTH]),
    ];
    no_more_than(8.0, bodies.map(|(name, label, body)| (name, cost(label, &body))));
}

#[test]
fn nested_json_is_scanned_in_little_memory() {
    let scan = |text: Vec<u8>| {
        let mut result = None;
        let info = measure(|| result = Some(json::validate(&text, &JSON).map(|text| text.kind())));
        assert_eq!(result.unwrap().unwrap_err().kind(), JsonErrorKind::Syntax);
        info.bytes_max as f64 / text.len() as f64
    };
    // One bit for each array, in a list that doubles.
    no_more_than(0.5, [("arrays", scan(filled(|_| b"[".to_vec())))]);
    no_more_than(8.0, [("objects", scan(filled(|_| b"{\"\":".to_vec())))]);

    let limits = ContentLimits::new().with_json(JSON.with_depth(128));
    let body = bytes::Bytes::from(vec![b'['; LENGTH]);
    let info = measure(|| {
        content::remove_field(&MediaType::Json, &body, "a", &limits).unwrap_err();
    });
    assert!(info.bytes_max < 4096, "{info:?}");
}
