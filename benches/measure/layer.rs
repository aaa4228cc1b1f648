//! What the layer costs by itself, in this process.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Instant;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::Result;
use crate::figures::{Spread, per};
use crate::keys::Keys;

/// How many requests are timed at once. Few, so that they stay in the caches as a single one would.
const BATCH: usize = 64;

/// What the layer adds to a service that answers at once.
#[derive(Debug)]
pub(crate) struct LayerCost {
    pub(crate) pairs: usize,
    /// Nanoseconds per request, without the layer.
    pub(crate) bare: Spread,
    /// Nanoseconds per request that the layer adds.
    pub(crate) added: Spread,
    pub(crate) allocations: i64,
    pub(crate) allocated_bytes: i64,
}

impl fmt::Display for LayerCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs, bare, added, allocations, allocated_bytes } = self;
        writeln!(f, "the layer alone, {pairs} pairs of {BATCH} requests")?;
        writeln!(f, "{:<28}{:>10}   {:<18}", "", "median", "quartiles")?;
        for (name, Spread { low, median, high }) in
            [("a service alone, ns", bare), ("the layer adds, ns", added)]
        {
            writeln!(f, "{name:<28}{median:>10.0}   {low:.0} to {high:.0}")?;
        }
        writeln!(f, "{:<28}{allocations:>10}   {allocated_bytes} bytes", "allocations it adds")
    }
}

/// Measures the layer in front of a service that answers at once, with `requests` requests each way.
pub(crate) fn measure_layer(runtime: &Runtime, keys: &Keys, requests: usize) -> Result<LayerCost> {
    let answer = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
    let mut bare = service_fn(answer);
    let mut guarded = keys.layer()?.layer(bare);

    // What runs first opens connections and fills caches.
    runtime.block_on(batch(&mut bare, keys))?;
    runtime.block_on(batch(&mut guarded, keys))?;

    let mut pairs = Vec::new();
    for pair in 0..requests.div_ceil(BATCH) {
        pairs.push(runtime.block_on(async {
            if pair % 2 == 0 {
                Ok::<_, Box<dyn Error>>((
                    batch(&mut bare, keys).await?,
                    batch(&mut guarded, keys).await?,
                ))
            } else {
                let guarded = batch(&mut guarded, keys).await?;
                Ok((batch(&mut bare, keys).await?, guarded))
            }
        })?);
    }
    let (own_count, own_bytes) = allocations(runtime, &mut bare, keys)?;
    let (count, bytes) = allocations(runtime, &mut guarded, keys)?;
    Ok(LayerCost {
        pairs: pairs.len(),
        bare: Spread::of(pairs.iter().map(|(bare, _)| *bare)),
        added: Spread::of(pairs.iter().map(|(bare, guarded)| guarded - bare)),
        allocations: count - own_count,
        allocated_bytes: bytes - own_bytes,
    })
}

/// Nanoseconds per request of one batch. Making the requests and dropping the responses is not in it.
async fn batch<S, B>(service: &mut S, keys: &Keys) -> Result<f64>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let requests = keys.requests(BATCH)?;
    let mut responses = Vec::with_capacity(BATCH);
    let start = Instant::now();
    for request in requests {
        responses.push(service.ready().await?.call(request).await?);
    }
    let elapsed = start.elapsed();
    match responses.iter().find(|response| response.status() != StatusCode::OK) {
        Some(response) => Err(format!("a request was answered by {}", response.status()).into()),
        None => Ok(per(elapsed, BATCH)),
    }
}

/// How often one request allocates on this thread, and how many bytes.
fn allocations<S>(runtime: &Runtime, service: &mut S, keys: &Keys) -> Result<(i64, i64)>
where
    S: Service<Request<Body>, Error = Infallible>,
{
    let request = keys.requests(1)?.pop().unwrap_or_default();
    let mut response = None;
    let counted = allocation_counter::measure(|| {
        response = Some(runtime.block_on(async { service.ready().await?.call(request).await }));
    });
    drop(response);
    Ok((counted.count_total.try_into()?, counted.bytes_total.try_into()?))
}
