//! The end of a node: SIGTERM or SIGINT starts a drain; a second one ends the process at once.
//!
//! Draining takes nothing new, answers what was taken, and closes rooms in reverse order (see [`crate::wire`]).
//! What a hard end leaves is what recovery is for: nothing acknowledged is lost either way.

use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::{Exit, Failure};

/// Told once when the node should end.
#[derive(Debug, Clone)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

impl Shutdown {
    /// Listens for both signals.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn on_signals() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("failed to install a signal handler: {error}")))
        };
        let (mut terminate, mut interrupt) = (install(SignalKind::terminate())?, install(SignalKind::interrupt())?);
        let (sender, asked) = watch::channel(false);
        tokio::spawn(async move {
            let name = first_of(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "draining; a second signal ends at once");
            sender.send_replace(true);
            let name = first_of(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "ending without drain");
            process::exit(i32::from(Exit::Failed.code()));
        });
        Ok(Self { asked })
    }

    /// Returns when the node should end.
    pub async fn asked(mut self) {
        // An error means that the task that listens is gone, and the process with it.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}

async fn first_of(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
