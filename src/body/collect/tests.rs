use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, HeaderValue};
use proptest::prelude::*;
use tokio::task::yield_now;
use tokio::time::advance;

use super::super::scripted::{Scripted, Seen, Step, trailers};
use super::*;

const LIMIT: usize = 1000;

fn reading(body: Scripted, announced: Option<&str>) -> ReadBody<Scripted> {
    let mut headers = HeaderMap::new();
    if let Some(announced) = announced {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_str(announced).unwrap());
    }
    let limits = BodyLimits { max_bytes: LIMIT, ..BodyLimits::default() };
    ReadBody::new(body, &headers, limits)
}

async fn read(
    body: Scripted,
    announced: Option<&str>,
) -> (Result<Collected, ReadErrorKind>, Arc<Seen>) {
    let seen = body.seen();
    let result = reading(body, announced).await;
    assert!(!seen.polled_after_end());
    assert!(seen.is_dropped());
    (result.map_err(|error| error.kind()), seen)
}

fn zeros(length: usize) -> Step {
    Step::Data(Bytes::from(vec![0; length]))
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let (result, _) = read(Scripted::new([zeros(LIMIT)]), Some("1000")).await;
    assert_eq!(result.unwrap().bytes.len(), LIMIT);

    let chunked = Scripted::new([zeros(400), Step::Yield, zeros(600)]);
    assert_eq!(read(chunked, None).await.0.unwrap().bytes.len(), LIMIT);
}

#[tokio::test]
async fn a_body_that_announces_one_byte_more_is_not_polled() {
    for announced in ["1001", "9223372036854775808", "99999999999999999999999"] {
        let (result, seen) = read(Scripted::new([zeros(LIMIT + 1)]), Some(announced)).await;

        assert_eq!(result.unwrap_err(), ReadErrorKind::TooLarge);
        assert_eq!(seen.polls(), 0);
    }

    let body = Scripted::new([zeros(LIMIT + 1)]).with_size_hint(LIMIT as u64 + 1);
    let (result, seen) = read(body, None).await;
    assert_eq!(result.unwrap_err(), ReadErrorKind::TooLarge);
    assert_eq!(seen.polls(), 0);
}

#[tokio::test]
async fn a_chunked_body_is_left_at_the_first_frame_past_the_limit() {
    let body = Scripted::new([zeros(LIMIT), zeros(1), Step::Forever(Bytes::from_static(b"x"))]);
    let (result, seen) = read(body, None).await;

    assert_eq!(result.unwrap_err(), ReadErrorKind::TooLarge);
    assert_eq!(seen.bytes(), LIMIT + 1);
}

#[tokio::test]
async fn a_body_that_never_ends_is_too_large() {
    let (result, seen) = read(Scripted::new([Step::Forever(vec![0; 300].into())]), None).await;

    assert_eq!(result.unwrap_err(), ReadErrorKind::TooLarge);
    assert_eq!(seen.bytes(), 1200);
}

#[tokio::test]
async fn a_length_that_is_no_number_is_broken_without_a_poll() {
    for announced in ["", "-1", "+3", "0x3", "3, 3"] {
        let (result, seen) = read(Scripted::new([zeros(3)]), Some(announced)).await;

        assert_eq!(result.unwrap_err(), ReadErrorKind::Broken, "{announced}");
        assert_eq!(seen.polls(), 0);
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_announced_or_broken() {
    for (sent, broken) in [(4, true), (5, false), (6, true)] {
        let body = Scripted::new([zeros(2), zeros(sent - 2)]);
        assert_eq!(read(body, Some("5")).await.0.is_err(), broken, "{sent}");
    }
    let (result, _) = read(Scripted::new([]), Some("1")).await;
    assert_eq!(result.unwrap_err(), ReadErrorKind::Broken);
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_error_at_once() {
    let body = Scripted::new([Step::data(b"ab"), Step::Fail, Step::data(b"cd")]);
    let seen = body.seen();
    let error = reading(body, None).await.unwrap_err();

    assert_eq!(error.kind(), ReadErrorKind::Broken);
    assert_eq!(error.source().unwrap().to_string(), "the peer is gone");
    assert_eq!(seen.polls(), 2);
}

#[tokio::test]
async fn a_panic_is_contained() {
    let (result, seen) = read(Scripted::new([Step::data(b"ab"), Step::Panic]), None).await;
    assert_eq!(result.unwrap_err(), ReadErrorKind::Panicked);
    assert_eq!(seen.polls(), 2);

    for step in [Step::Panic, Step::data(b"ab")] {
        let (result, _) = read(Scripted::new([step]).with_panic_on_drop(), None).await;
        assert_eq!(result.unwrap_err(), ReadErrorKind::Panicked);
    }
}

#[tokio::test]
async fn a_finished_reading_stays_finished() {
    let body = Scripted::new([Step::data(b"ab")]);
    let seen = body.seen();
    let mut reading = std::pin::pin!(reading(body, None));

    assert!(reading.as_mut().await.is_ok());
    assert!(reading.as_mut().await.is_err());
    assert_eq!(seen.polls(), 2);
}

#[tokio::test]
async fn a_single_frame_is_not_copied() {
    let bytes = Bytes::from(vec![7; 500]);
    let steps = [Step::Data(Bytes::new()), Step::Data(bytes.clone()), Step::Data(Bytes::new())];
    let (result, _) = read(Scripted::new(steps), Some("500")).await;

    assert_eq!(result.unwrap().bytes.as_ptr(), bytes.as_ptr());
}

#[tokio::test]
async fn trailers_are_kept() {
    let steps = [Step::data(b"ab"), Step::Yield, Step::Trailers(trailers())];
    let collected = read(Scripted::new(steps), None).await.0.unwrap();

    assert_eq!(collected.bytes, "ab");
    assert_eq!(collected.trailers, Some(trailers()));
}

#[tokio::test]
async fn nothing_follows_the_trailers() {
    for step in [Step::data(b"cd"), Step::Data(Bytes::new()), Step::Trailers(trailers())] {
        let body = Scripted::new([Step::data(b"ab"), Step::Trailers(trailers()), step]);
        assert_eq!(read(body, None).await.0.unwrap_err(), ReadErrorKind::Broken);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_body_is_late() {
    for steps in [&[Step::Stall][..], &[Step::data(b"half"), Step::Stall]] {
        let body = Scripted::new(steps.iter().cloned());
        let seen = body.seen();
        let reading = tokio::spawn(reading(body, None));
        yield_now().await;
        assert!(!reading.is_finished());

        advance(BodyLimits::default().deadline).await;

        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ReadErrorKind::Timeout);
        assert!(seen.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_does_not_extend_the_deadline() {
    let steps = (0..).map(|number| if number % 2 == 0 { zeros(1) } else { Step::Yield });
    let body = Scripted::new(steps.take(1000));
    let seen = body.seen();
    let reading = tokio::spawn(reading(body, None));
    while seen.bytes() < 5 {
        yield_now().await;
    }

    advance(BodyLimits::default().deadline).await;

    assert_eq!(reading.await.unwrap().unwrap_err().kind(), ReadErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn empty_frames_without_end_are_late() {
    let body = Scripted::new([Step::Forever(Bytes::new())]);
    let reading = tokio::spawn(reading(body, None));
    for _ in 0..10 {
        yield_now().await;
    }
    assert!(!reading.is_finished());

    advance(BodyLimits::default().deadline).await;

    assert_eq!(reading.await.unwrap().unwrap_err().kind(), ReadErrorKind::Timeout);
}

#[test]
fn a_body_that_is_there_needs_no_runtime() {
    let body = Scripted::new([Step::data(b"ab"), Step::data(b"cd")]);

    assert_eq!(reading(body, None).now_or_never().unwrap().unwrap().bytes, "abcd");
}

#[tokio::test]
async fn one_poll_takes_a_bounded_number_of_frames_and_wakes_itself() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let body = Scripted::new([Step::Crumbs(FRAMES_PER_POLL + 1)]);
    let seen = body.seen();
    let mut reading = std::pin::pin!(reading(body, None));

    assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(seen.polls(), FRAMES_PER_POLL);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_mebibyte_of_one_byte_frames_is_read() {
    let length = 1024 * 1024;
    let started = Instant::now();
    let limits = BodyLimits { max_bytes: length, ..BodyLimits::default() };
    let body = Scripted::new([Step::Crumbs(length)]);
    let collected = ReadBody::new(body, &HeaderMap::new(), limits).await.unwrap();

    assert_eq!(collected.bytes.len(), length);
    assert!(started.elapsed() < limits.deadline);
}

#[tokio::test]
async fn a_reading_that_is_dropped_drops_the_body() {
    let body = Scripted::new([Step::data(b"ab"), Step::Stall]);
    let seen = body.seen();
    let reading = tokio::spawn(reading(body, None));
    yield_now().await;
    assert_eq!(seen.bytes(), 2);

    reading.abort();

    assert!(reading.await.unwrap_err().is_cancelled());
    assert!(seen.is_dropped());
}

#[test]
fn small_frames_are_copied_and_the_buffer_is_bounded() {
    struct Counted(Arc<AtomicUsize>);
    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive = Arc::new(AtomicUsize::new(0));
    for expected in [None, Some(100_000)] {
        let mut data = Data::None;
        for _ in 0..100_000 {
            alive.fetch_add(1, Ordering::SeqCst);
            data.push(Bytes::from_owner(Counted(Arc::clone(&alive))), expected, 100_000);
            assert!(alive.load(Ordering::SeqCst) <= 1);
        }
        let Data::Many(bytes) = data else { panic!("copied together") };
        assert_eq!(bytes.len(), 100_000);
        assert_eq!(bytes.capacity(), 100_000);
    }
}

#[test]
fn an_announced_length_is_not_allocated_at_once() {
    let mut data = Data::None;
    for _ in 0..2 {
        data.push(Bytes::from_static(b"x"), Some(1 << 30), 1 << 30);
    }

    let Data::Many(bytes) = data else { panic!("copied together") };
    assert_eq!(bytes.capacity(), 64 * 1024);
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_sent(
        frames in prop::collection::vec(
            prop_oneof![
                3 => prop::collection::vec(any::<u8>(), 0..70).prop_map(|data| Step::Data(data.into())),
                1 => Just(Step::Yield),
            ],
            0..30,
        ),
        announces in any::<bool>(),
        has_trailers in any::<bool>(),
    ) {
        let sent: Vec<u8> = frames
            .iter()
            .filter_map(|step| if let Step::Data(data) = step { Some(data) } else { None })
            .flatten()
            .copied()
            .collect();
        let length = sent.len().to_string();
        let trailers = has_trailers.then(trailers);
        let steps = frames.into_iter().chain(trailers.clone().map(Step::Trailers));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();

        let (result, seen) = runtime.block_on(read(
            Scripted::new(steps),
            announces.then_some(length.as_str()),
        ));

        match result {
            Ok(collected) => {
                prop_assert!(sent.len() <= LIMIT);
                prop_assert_eq!(&collected.bytes, &sent);
                prop_assert_eq!(collected.trailers, trailers);
            }
            Err(kind) => {
                prop_assert!(sent.len() > LIMIT);
                prop_assert_eq!(kind, ReadErrorKind::TooLarge);
                let most = if announces { 0 } else { LIMIT + 70 };
                prop_assert!(seen.bytes() <= most);
            }
        }
    }
}
