//! The way from the worker to the chain, which can be closed to transactions.
//!
//! Passes every byte on, both ways. Closed, it takes a transaction as any network may: the bytes go no further and nothing
//! comes back. Opened again, the connections that wait at it are closed; what they carried stays lost.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The method by which a transaction is sent (Ethereum JSON-RPC).
const SENDS: &[u8] = b"eth_sendRawTransaction";

#[derive(Default)]
struct State {
    closed: bool,
    /// Transactions that were taken while it was closed.
    taken: usize,
    ended: bool,
}

#[derive(Default)]
struct Bar {
    state: Mutex<State>,
    changed: Condvar,
}

impl Bar {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Whether a transaction may not pass. If so, waits here until the gate is open.
    fn stops_transaction(&self) -> bool {
        if !self.state().closed {
            return false;
        }
        self.change(|state| state.taken += 1);
        drop(self.changed.wait_while(self.state(), |state| state.closed && !state.ended));
        true
    }
}

/// A gate before a server on this machine. Takes no new connections once it is dropped.
pub(crate) struct Gate {
    address: SocketAddr,
    bar: Arc<Bar>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.bar.change(|state| state.ended = true);
        // Whoever waits for the next caller gets one.
        drop(TcpStream::connect(self.address));
    }
}

impl Gate {
    /// An open one, on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) fn before(server: SocketAddr) -> Result<Self, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let bar = Arc::new(Bar::default());
        let shared = Arc::clone(&bar);
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                if shared.state().ended {
                    return;
                }
                pass(caller, server, &shared);
            }
        });
        Ok(Self { address, bar })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on no transaction passes.
    pub(crate) fn close(&self) {
        self.bar.change(|state| state.closed = true);
    }

    /// Everything passes again; what was stopped is lost.
    pub(crate) fn open(&self) {
        self.bar.change(|state| (state.closed, state.taken) = (false, 0));
    }

    /// Waits for a transaction at the closed gate; tells whether one came in this time.
    pub(crate) fn wait_for_transaction(&self, max: Duration) -> bool {
        let waited = self.bar.changed.wait_timeout_while(self.bar.state(), max, |state| state.taken == 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.taken > 0
    }
}

/// One connection, each direction in a thread of its own. A server that does not answer is a connection that closes.
fn pass(caller: TcpStream, server: SocketAddr, bar: &Arc<Bar>) {
    let open = || Ok::<_, std::io::Error>((caller.try_clone()?, TcpStream::connect(server)?));
    let Ok((caller_out, server_in)) = open() else { return };
    let Ok(server_out) = server_in.try_clone() else { return };
    let bar = Arc::clone(bar);
    std::thread::spawn(move || questions(caller, server_out, &bar));
    std::thread::spawn(move || answers(server_in, caller_out));
}

fn questions(mut caller: TcpStream, mut server: TcpStream, bar: &Bar) {
    let mut bytes = [0; 16 << 10];
    // The end of what went before: a method's name may come in two parts, and the first alone is no question.
    let mut seen = Vec::new();
    while let Ok(read @ 1..) = caller.read(&mut bytes) {
        let part = bytes.get(..read).unwrap_or_default();
        seen.extend_from_slice(part);
        let sends = seen.windows(SENDS.len()).any(|window| window == SENDS);
        if sends && bar.stops_transaction() || server.write_all(part).is_err() {
            break;
        }
        let kept = if sends { 0 } else { SENDS.len() - 1 };
        seen.drain(..seen.len().saturating_sub(kept));
    }
    // Ends the other direction too.
    let _ = server.shutdown(Shutdown::Both);
    let _ = caller.shutdown(Shutdown::Both);
}

fn answers(mut server: TcpStream, mut caller: TcpStream) {
    // However it ends, the caller sees a connection that closes.
    let _ = std::io::copy(&mut server, &mut caller);
    let _ = caller.shutdown(Shutdown::Both);
}
