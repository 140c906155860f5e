//! The QUIC door: whether it is used, the one connection of a client behind it, and what became of it.
//!
//! Takes the address and certificates; gives a [`Link`] to a server that was welcomed as the pinned ledger's. One
//! connection serves all clones of a client; whoever finds it gone has it made anew. When no connection comes about
//! within a short, bounded wait, the door is shut for a while, which is remembered, and HTTP serves meanwhile; a refused
//! credential or another ledger is an answer, not a reason to look for another door.

mod connect;
mod feed;
mod link;
mod pipeline;

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::pin::Pin;
use crate::tls::TlsConfig;
use crate::transport::ApiKey;

pub(crate) use connect::check_address;
pub(crate) use feed::{QuicFeed, Told};
pub(crate) use link::Link;
pub(crate) use pipeline::Pipeline;
pub use pipeline::{Pending, PipelineBounds};

/// The door stays shut this long after the first failure, twice as long after the next, and so on.
const SHUT_FIRST: Duration = Duration::from_secs(5);
/// Never longer.
const SHUT_MAX: Duration = Duration::from_secs(300);

/// Which door a client goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// QUIC where there is an address for it (an `https://` URL names one, or [`crate::ClientBuilder::quic`]), else and
    /// wherever QUIC does not get through, HTTP.
    Either,
    /// HTTP alone.
    Http,
    /// QUIC alone, for submissions and feeds.
    Quic,
}

/// How submissions and feeds travelled so far, and how connections fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DoorCounts {
    /// QUIC connections that were welcomed.
    pub quic_connections: u64,
    /// QUIC connections that did not come about.
    pub quic_failures: u64,
    /// QUIC connections or streams that were lost.
    pub quic_losses: u64,
    /// Submissions answered over QUIC.
    pub quic_submissions: u64,
    /// Submissions sent again over QUIC, because the first sending had no answer or was refused for now.
    pub quic_repeats: u64,
    /// Submissions that went over HTTP because QUIC did not get through.
    pub http_fallbacks: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) losses: AtomicU64,
    pub(crate) submissions: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self) -> DoorCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DoorCounts {
            quic_connections: of(&self.connections),
            quic_failures: of(&self.failures),
            quic_losses: of(&self.losses),
            quic_submissions: of(&self.submissions),
            quic_repeats: of(&self.repeats),
            http_fallbacks: of(&self.fallbacks),
        }
    }
}

/// What a QUIC door is made of.
#[derive(Debug, Clone)]
pub(crate) struct QuicConfig {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) api_key: Option<ApiKey>,
    pub(crate) tls: TlsConfig,
    /// How long a connection may take to be welcomed.
    pub(crate) connect_timeout: Duration,
    /// How long an answer or a heartbeat may take.
    pub(crate) silence_max: Duration,
    /// Whether HTTP is there when this is not.
    pub(crate) may_fall_back: bool,
    /// Whether what is behind the other door checks certificates too.
    pub(crate) fallback_is_secure: bool,
}

/// Why there is no link.
#[derive(Debug)]
pub(crate) enum NoLink {
    /// It did not get through; HTTP may.
    Shut,
    /// There is an answer, and it is this.
    Failed(ClientError),
}

enum State {
    Untried,
    Open(Arc<Link>),
    Shut { until: Instant, times: u32 },
}

pub(crate) struct QuicDoor {
    config: QuicConfig,
    pin: Arc<Pin>,
    endpoints: connect::Endpoints,
    pub(crate) counters: Counters,
    state: Mutex<State>,
}

impl fmt::Debug for QuicDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDoor").field("address", &self.config.address).finish_non_exhaustive()
    }
}

impl QuicDoor {
    pub(crate) fn new(config: QuicConfig, pin: Arc<Pin>) -> Result<Self, ClientError> {
        let endpoints = connect::Endpoints::new(&config.tls)?;
        let state = Mutex::new(State::Untried);
        Ok(Self { config, pin, endpoints, counters: Counters::default(), state })
    }

    pub(crate) fn address(&self) -> &str {
        &self.config.address
    }

    pub(crate) const fn silence_max(&self) -> Duration {
        self.config.silence_max
    }

    /// The connection; made now if there is none.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, NoLink> {
        let mut state = self.state.lock().await;
        let times = match &*state {
            State::Open(link) if link.is_open() => return Ok(Arc::clone(link)),
            State::Shut { until, .. } if self.config.may_fall_back && Instant::now() < *until => {
                return Err(NoLink::Shut);
            }
            State::Shut { times, .. } => *times,
            State::Open(_) | State::Untried => 0,
        };
        // Without an answer in time there is none; the wait is bounded, so that who only has HTTP is not kept waiting.
        let made = tokio::time::timeout(self.config.connect_timeout, self.connect()).await;
        let made = made.unwrap_or_else(|_| Err(connect::no_answer(&self.config.address, "it took too long")));
        match made {
            Ok(link) => {
                count(&self.counters.connections);
                tracing::debug!(address = self.config.address, "connected over QUIC");
                let link = Arc::new(link);
                *state = State::Open(Arc::clone(&link));
                Ok(link)
            }
            Err(error) => {
                count(&self.counters.failures);
                if !self.falls_back_after(&error) {
                    *state = State::Untried;
                    return Err(NoLink::Failed(error));
                }
                *state = shut(times, &self.config.address, &error);
                Err(NoLink::Shut)
            }
        }
    }

    /// A link that was given out does not work, although it does not know yet; `give_up`: nor will the next.
    pub(crate) async fn lost(&self, link: &Arc<Link>, why: &str, give_up: bool) {
        count(&self.counters.losses);
        link.close();
        let mut state = self.state.lock().await;
        if !matches!(&*state, State::Open(open) if Arc::ptr_eq(open, link)) {
            return;
        }
        *state = if give_up && self.config.may_fall_back {
            shut(0, &self.config.address, &connect::no_answer(&self.config.address, why))
        } else {
            State::Untried
        };
    }

    async fn connect(&self) -> Result<Link, ClientError> {
        let link = Link::open(&self.endpoints, &self.config).await?;
        self.pin.take(&link.welcome().genesis.encode()).await?;
        Ok(link)
    }

    /// A certificate that does not hold is a reason to go elsewhere only where certificates are checked too.
    fn falls_back_after(&self, error: &ClientError) -> bool {
        self.config.may_fall_back
            && match error {
                ClientError::NoConnection { .. } => true,
                ClientError::Certificate { .. } => self.config.fallback_is_secure,
                _ => false,
            }
    }
}

fn shut(times: u32, address: &str, error: &ClientError) -> State {
    let pause = SHUT_FIRST.saturating_mul(1 << times.min(10)).min(SHUT_MAX);
    let seconds = pause.as_secs();
    tracing::warn!(address, %error, seconds, "QUIC does not get through; falling back to HTTP");
    State::Shut { until: Instant::now() + pause, times: times.saturating_add(1) }
}
