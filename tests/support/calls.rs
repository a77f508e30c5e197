//! Questions that tests put to a running node.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::images::ImageFiles;
use super::{NodeProcess, until};

/// How long something may take that takes a second on an idle machine.
pub const SOON: Duration = Duration::from_secs(30);

impl NodeProcess {
    /// Imports an image from memory under this name, by way of a new folder in `folder`: its manifest's digest.
    #[track_caller]
    pub fn import(&self, folder: &Path, image: &ImageFiles, name: &str) -> String {
        let path = tempfile::tempdir_in(folder).expect("a folder");
        image.write_to(path.path());
        let path = path.path().to_str().expect("a path of UTF-8");
        let imported = self.cli(&["-o", "json", "image", "import", path, "--name", name]).ok().json();
        imported["manifest"].as_str().expect("a digest").to_owned()
    }

    /// Pulls an image: what `image pull` tells at its end.
    #[track_caller]
    pub fn pull(&self, image: &str) -> Value {
        self.cli(&["-o", "json", "image", "pull", image]).ok().json()
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Value {
        self.cli(&[&["-o", "json"], args].concat()).ok().json()
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask(&["status"])
    }

    /// This peer's row of `peer list`, if there is one.
    #[track_caller]
    pub fn peer(&self, peer_id: &str) -> Option<Value> {
        let peers = self.ask(&["peer", "list"]);
        peers.as_array().expect("a list").iter().find(|peer| peer["peer_id"] == peer_id).cloned()
    }

    /// Whether the node has an image of this name.
    #[track_caller]
    pub fn has_image(&self, name: &str) -> bool {
        let images = self.ask(&["image", "list"]);
        images.as_array().expect("a list").iter().any(|image| image["reference"] == name)
    }

    /// Waits until the node has an image of this name.
    #[track_caller]
    pub fn wait_image(&self, name: &str) {
        until("an image to arrive", SOON, || self.has_image(name).then_some(()));
    }

    /// Waits until the node is connected to this many peers.
    #[track_caller]
    pub fn wait_peers(&self, count: u64) {
        until("peers to connect", SOON, || (self.status()["peers_connected"].as_u64()? >= count).then_some(()));
    }

    /// Waits until the node knows of a peer that it holds at least so many layers.
    #[track_caller]
    pub fn wait_holdings(&self, peer_id: &str, layers: u64) {
        until("holdings to be heard of", SOON, || (self.peer(peer_id)?["layers"].as_u64()? >= layers).then_some(()));
    }

    /// Checks the store of a node that does not run; panics with what is wrong with it.
    #[track_caller]
    pub fn fsck(&self) -> Value {
        let config = self.config();
        let config = config.to_str().expect("a path of UTF-8");
        super::run(&["-o", "json", "store", "fsck", "--config", config]).ok().json()
    }
}
