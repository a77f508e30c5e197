//! Nodes that ask for far more than they can use: quotes, and patches from all kinds of bases. They stay just under the
//! number of messages above which a peer's questions are refused, where each of them costs others the most.

use lighter_engine::Settings;

use super::Flaw;
use super::per_site::PerSite;

pub type Floods = PerSite<Flooding>;

/// A node that sends so many messages a second to each node that it is connected to.
#[derive(Clone, Debug)]
pub struct Flooding {
    pub messages_per_second: u32,
}

impl Default for Flooding {
    fn default() -> Self {
        // Its own questions and its announcements count too.
        let window_s = Settings::FLOOD_WINDOW.as_secs() as u32;
        Self { messages_per_second: Settings::MESSAGES_MAX / window_s * 9 / 10 }
    }
}

impl Flaw for Flooding {
    fn floods(&self) -> u32 {
        self.messages_per_second
    }
}
