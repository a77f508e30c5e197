//! The ways by which images get to nodes: the engine of this project, and what fleets use today.

/// How images get to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Every node pulls compressed layers from the registry.
    Registry,
    /// The first node of a site pulls the layers from the registry. The other nodes of the site get them from it.
    Swarm,
    /// Every node pulls patches that a central server makes.
    CentralDelta,
    /// Every node pulls the content-defined chunks that it lacks.
    Chunks,
    /// The engine of this project.
    Lighter,
}

impl Strategy {
    pub const ALL: [Self; 5] = [Self::Registry, Self::Swarm, Self::CentralDelta, Self::Chunks, Self::Lighter];

    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Swarm => "swarm",
            Self::CentralDelta => "central-delta",
            Self::Chunks => "chunks",
            Self::Lighter => "lighter",
        }
    }
}
