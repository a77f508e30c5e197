//! Signals as a flag that long work checks, so that it can remove temporary files and end child processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Failure, Kind};

/// A flag that SIGINT, SIGTERM and SIGHUP set. They no longer end the program by themselves.
pub struct Interrupt {
    is_set: Arc<AtomicBool>,
    /// Waits for the signals until it is dropped.
    _runtime: Runtime,
}

impl Interrupt {
    pub fn watch() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| watch_failure(&error))?;
        let is_set = Arc::new(AtomicBool::new(false));
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let _entered = runtime.enter();
            let mut signal = signal(kind).map_err(|error| watch_failure(&error))?;
            let is_set = Arc::clone(&is_set);
            runtime.spawn(async move {
                signal.recv().await;
                is_set.store(true, Ordering::Relaxed);
            });
        }
        Ok(Self { is_set, _runtime: runtime })
    }

    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    /// # Errors
    /// `Cancelled` after a signal.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_set() { Err(cancelled()) } else { Ok(()) }
    }
}

fn watch_failure(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Machine, format!("cannot watch for signals: {error}"))
}

pub fn cancelled() -> Failure {
    Failure::new(Kind::Cancelled, "stopped by a signal")
}
