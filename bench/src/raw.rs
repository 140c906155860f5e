//! The raw rate: how many signatures this machine verifies per second with the same code, on all cores, doing nothing
//! else. Every other rate is quoted beside this one, because machines differ.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use rand_core::{TryCryptoRng, TryRng};
use tally_protocol::frame::Frame;
use tally_protocol::key::{VerifyItem, verify_batch};

use crate::Failure;
use crate::events::{Body, Maker, Shape};
use crate::proc::own_thread_nanos;

/// Signatures verified together; what the node gathers at the most.
pub const BATCH: usize = 2048;

/// Seconds of a round that give a steady figure.
pub const SECONDS: f64 = 2.0;

/// The raw rate of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw {
    /// Signatures per second over all cores.
    pub per_second: f64,
    /// µs of one core's time per signature. Unlike the rate it says the same when other processes take the cores.
    pub cpu_micros: f64,
}

/// Signatures per second over all cores, best of three rounds of so many seconds.
///
/// # Errors
/// If events cannot be made or a signature does not verify.
pub fn verify_rate(maker: &Maker, seconds: f64) -> Result<Raw, Failure> {
    let items = items(maker)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut best = Raw::default();
    for _ in 0..3 {
        let found = round(&items, workers, Duration::from_secs_f64(seconds))?;
        let cpu_micros = if best.per_second == 0.0 { found.cpu_micros } else { best.cpu_micros.min(found.cpu_micros) };
        best = Raw { per_second: best.per_second.max(found.per_second), cpu_micros };
    }
    Ok(best)
}

fn items(maker: &Maker) -> Result<Vec<VerifyItem>, Failure> {
    // Enough to go round without living in a cache.
    let shape = Shape { spoil: None, ..maker.shape.clone() };
    let bodies = Maker::new(shape, maker.tenant, maker.seed()).make(BATCH * 2)?;
    let keys = maker.keys();
    let frames: Vec<Frame> = bodies.iter().map(Body::decode).collect::<Result<Vec<_>, _>>()?.concat();
    let item = |frame: &Frame| {
        let public_key = *keys.get(&frame.agent_id()).ok_or("an event of a stranger")?;
        Ok(VerifyItem { public_key, message: *frame.signing_hash().as_bytes(), signature: frame.signature() })
    };
    frames.iter().map(item).collect::<Result<Vec<_>, &str>>().map_err(str::to_owned)
}

fn round(items: &[VerifyItem], workers: usize, time: Duration) -> Result<Raw, Failure> {
    let start = Instant::now();
    let counts: Vec<Result<(usize, u64), Failure>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(move || worker(items, time))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a worker died".into()))).collect()
    });
    let per_second = start.elapsed().as_secs_f64();
    let (mut total, mut nanos) = (0, 0);
    for count in counts {
        let (signatures, cpu) = count?;
        total += signatures;
        nanos += cpu;
    }
    Ok(Raw { per_second: total as f64 / per_second, cpu_micros: nanos as f64 / 1000.0 / total.max(1) as f64 })
}

fn worker(items: &[VerifyItem], time: Duration) -> Result<(usize, u64), Failure> {
    let (start, cpu) = (Instant::now(), own_thread_nanos());
    let mut count = 0;
    while start.elapsed() < time {
        for batch in items.chunks_exact(BATCH) {
            if !verify_batch(batch, &mut System).into_iter().all(|good| good) {
                return Err("a good signature was refused".into());
            }
            count += batch.len();
        }
    }
    Ok((count, own_thread_nanos() - cpu))
}

/// Randomness of the operating system, in the form batch verification takes.
pub(crate) struct System;

impl TryRng for System {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        getrandom::fill(out).expect("the operating system gives random bytes");
        Ok(())
    }
}

impl TryCryptoRng for System {}
