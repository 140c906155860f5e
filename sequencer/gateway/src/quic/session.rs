//! Who is behind a connection, and what it may do now. The caller's window and count of connections are shared by all
//! its connections; they are made with the first and gone with the last.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tally_api::error::ErrorCode;
use tally_protocol::hash::ApiKeyHash;
use tokio::sync::{Semaphore, watch};

use crate::Gateway;
use crate::auth::Caller;
use crate::error::ApiError;

/// What all connections of one caller share.
pub(super) struct Shared {
    /// One permit per byte that may be without an outcome.
    pub(super) window: Arc<Semaphore>,
    /// One permit per connection.
    connections: Arc<Semaphore>,
}

/// All callers with connections.
pub(super) struct Callers {
    connections_max: usize,
    window_bytes: usize,
    known: Mutex<HashMap<ApiKeyHash, Weak<Shared>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Callers {
    pub(super) fn new(connections_max: usize, window_bytes: u32) -> Self {
        Self { connections_max, window_bytes: window_bytes as usize, known: Mutex::new(HashMap::new()) }
    }

    fn shared(&self, caller: ApiKeyHash) -> Arc<Shared> {
        let mut known = lock(&self.known);
        if let Some(shared) = known.get(&caller).and_then(Weak::upgrade) {
            return shared;
        }
        // Callers that left are forgotten when a new one comes, so there are never more than connections and one.
        known.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared {
            window: Arc::new(Semaphore::new(self.window_bytes)),
            connections: Arc::new(Semaphore::new(self.connections_max)),
        });
        known.insert(caller, Arc::downgrade(&shared));
        shared
    }
}

/// The caller of one connection.
pub(super) struct Session {
    pub(super) gateway: Arc<Gateway>,
    pub(super) shared: Arc<Shared>,
    hash: ApiKeyHash,
    standing: Mutex<Standing>,
    /// Permits of this connection's feeds.
    pub(super) feeds: Arc<Semaphore>,
    /// True once nothing new is read on this connection.
    pub(super) stopping: watch::Receiver<bool>,
    _connection: tokio::sync::OwnedSemaphorePermit,
}

struct Standing {
    /// The credentials' generation at which the caller was looked up.
    generation: u64,
    caller: Caller,
}

impl Session {
    /// # Errors
    /// The caller has its number of connections.
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        callers: &Callers,
        caller: Caller,
        feeds_max: usize,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, ApiError> {
        let hash = caller.credential()?.hash;
        let shared = callers.shared(hash);
        let Ok(connection) = Arc::clone(&shared.connections).try_acquire_owned() else {
            return Err(
                ApiError::new(ErrorCode::RateLimitExceeded, "too many connections of this credential").after(10)
            );
        };
        let generation = gateway.credentials_generation.load(Ordering::Acquire);
        Ok(Self {
            gateway: Arc::clone(gateway),
            shared,
            hash,
            standing: Mutex::new(Standing { generation, caller }),
            feeds: Arc::new(Semaphore::new(feeds_max)),
            stopping,
            _connection: connection,
        })
    }

    /// The caller as it stands now: looked up again if any credential was revoked since, or if its own has expired.
    pub(super) fn caller(&self) -> Result<Caller, ApiError> {
        let generation = self.gateway.credentials_generation.load(Ordering::Acquire);
        let mut standing = lock(&self.standing);
        if standing.generation != generation || standing.caller.has_expired(self.gateway.clock.wall()) {
            standing.caller = self.gateway.door().admit_credential(&self.hash)?;
            standing.generation = generation;
        }
        Ok(standing.caller.clone())
    }

    /// Looks the caller up whatever was said: a store may change without this gateway's doing.
    pub(super) fn recheck(&self) -> Result<(), ApiError> {
        let caller = self.gateway.door().admit_credential(&self.hash)?;
        lock(&self.standing).caller = caller;
        Ok(())
    }

    /// Resolves when nothing new is to be read.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // The sender lives as long as the connection's task, which outlives its streams.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
