//! Congestion control: how fast a connection sends, and how much it has in flight.
//!
//! [`Pilot`] decides; this file gives it to QUIC.

mod bursts;
mod delivery;
mod maximum;
mod phase;
mod pilot;
#[cfg(test)]
mod tests;
mod train;
mod waiting;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};

pub use phase::Phase;
pub use pilot::Pilot;

/// Makes a controller for each path of each connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControllerConfig;

impl ControllerFactory for ControllerConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Path(Pilot::new(now, current_mtu.into())))
    }
}

/// The pilot of one path.
#[derive(Clone, Debug)]
struct Path(Pilot);

impl Controller for Path {
    fn on_packet_sent(&mut self, now: Instant, bytes: u16, _: u64) {
        self.0.sent(now, bytes.into());
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, _: u64, _: bool, _: &RttEstimator) {
        self.0.acknowledged(now, sent, bytes);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, _: Option<u64>) {
        self.0.acknowledgement_ended(now, in_flight, app_limited);
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, _: u64, _: Instant) {
        self.0.lost(lost_bytes.into());
    }

    fn on_congestion_event(&mut self, now: Instant, _: Instant, is_persistent: bool, _: bool, _: u64, _: u64) {
        if is_persistent {
            self.0.start_again(now);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.set_mtu(new_mtu.into());
    }

    fn window(&self) -> u64 {
        self.0.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.0.window();
        metrics.pacing_rate = Some(self.0.pacing_rate());
        metrics.bandwidth_estimate = Some(self.0.bandwidth() * 8);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        pilot::INITIAL_WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The pilot of a path's controller, as it is now.
pub fn pilot(controller: Box<dyn Controller>) -> Option<Pilot> {
    controller.into_any().downcast::<Path>().ok().map(|path| path.0)
}
