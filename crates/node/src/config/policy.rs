//! `[[registry.policy]]`: how the images of some repositories are resolved and fetched, and who may have them.
//!
//! A pattern names one repository by its full name, or all below a path, or all there are. So the first policy that
//! matches is found by comparing text, in a time that the configuration bounds.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use lighter_types::{ImageReference, PeerId};
use serde::{Deserialize, Serialize};

use super::values::text_list;

/// The rules for the repositories of some patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    #[serde(with = "text_list")]
    pub repositories: Vec<Pattern>,
    /// Those who say what a tag stands for, the first to be asked first.
    pub resolve: Vec<Resolver>,
    /// An answer of upstream counts for so long.
    pub max_age_s: u32,
    pub when_upstream_is_away: WhenAway,
    /// Where the layers of an image come from that upstream resolved.
    pub fetch: Vec<LayerSource>,
    /// The users of `registry.users_file` that may pull. None: all of them. `*`: everybody, without a name too.
    pub users: Vec<String>,
    /// The nodes that may have the images. None: all members.
    #[serde(with = "text_list")]
    pub members: Vec<PeerId>,
}

/// Somebody who says what a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolver {
    Release,
    Upstream,
}

/// The way out when upstream does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// Its last answer counts, however old.
    Last,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerSource {
    Peers,
    Upstream,
}

/// The name of everybody among the users of a policy.
pub const EVERYBODY: &str = "*";
/// Policies, and patterns, users or members of one.
pub const POLICIES_MAX: usize = 256;
const ENTRIES_MAX: usize = 1024;
/// A year: an answer that is older is a mistake.
const AGE_MAX_S: u32 = 31_536_000;
const DOCKER_HUB: &str = "docker.io";

/// The policy of repositories that no pattern matches.
static BUILT_IN: LazyLock<Policy> = LazyLock::new(Policy::default);

impl Default for Policy {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            resolve: vec![Resolver::Release],
            max_age_s: 60,
            when_upstream_is_away: WhenAway::Last,
            fetch: vec![LayerSource::Peers, LayerSource::Upstream],
            users: Vec::new(),
            members: Vec::new(),
        }
    }
}

impl Policy {
    pub fn resolves(&self, by: Resolver) -> bool {
        self.resolve.contains(&by)
    }

    pub fn fetches(&self, from: LayerSource) -> bool {
        self.fetch.contains(&from)
    }

    pub fn admits_everybody(&self) -> bool {
        self.users.iter().any(|user| user == EVERYBODY)
    }

    /// Whether a user of the file may pull.
    pub fn admits(&self, user: &str) -> bool {
        self.users.is_empty() || self.admits_everybody() || self.users.iter().any(|name| name == user)
    }

    pub fn may_have(&self, member: PeerId) -> bool {
        self.members.is_empty() || self.members.contains(&member)
    }

    /// The first contradiction.
    pub(super) fn check(&self, has_users_file: bool) -> Result<(), String> {
        let lists = [self.repositories.len(), self.users.len(), self.members.len()];
        if self.repositories.is_empty() || lists.iter().any(|length| *length > ENTRIES_MAX) {
            return Err(format!("needs repositories, and at most {ENTRIES_MAX} entries in each list"));
        }
        if self.resolve.is_empty() || self.resolve.len() > 2 || self.resolve.len() == 2 && is_doubled(&self.resolve) {
            return Err("resolve must name release or upstream or both, in their order".to_owned());
        }
        let known = [&[LayerSource::Peers][..], &[LayerSource::Upstream], &[LayerSource::Peers, LayerSource::Upstream]];
        if !known.contains(&&self.fetch[..]) {
            return Err("fetch must be [\"peers\"], [\"upstream\"] or [\"peers\", \"upstream\"]".to_owned());
        }
        if self.max_age_s > AGE_MAX_S {
            return Err(format!("max_age_s must be from 0 to {AGE_MAX_S}"));
        }
        if self.resolves(Resolver::Upstream) && self.repositories.contains(&Pattern::all()) {
            let why = "\"*\" with \"upstream\" would let a client have this node call any host: name the registry, as in \
                       \"registry.example/*\"";
            return Err(why.to_owned());
        }
        if !has_users_file && self.users.iter().any(|user| user != EVERYBODY) {
            return Err("users need registry.users_file".to_owned());
        }
        Ok(())
    }
}

fn is_doubled(resolve: &[Resolver]) -> bool {
    resolve.first() == resolve.last()
}

/// The first policy with a pattern that matches a repository, by any of its names.
pub fn policy_of<'a>(policies: &'a [Policy], repository: &str) -> &'a Policy {
    let name = full_name(repository);
    let found = policies.iter().find(|policy| policy.repositories.iter().any(|pattern| pattern.matches(&name)));
    found.unwrap_or(&BUILT_IN)
}

/// The one name of a repository that has several: with its registry in lower case, and `library/` at Docker Hub.
pub fn full_name(repository: &str) -> String {
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) if is_registry(host) => (host.to_lowercase(), path),
        _ => (DOCKER_HUB.to_owned(), repository),
    };
    let host = if ["index.docker.io", "registry-1.docker.io"].contains(&host.as_str()) { DOCKER_HUB } else { &host };
    let library = if host == DOCKER_HUB && !path.contains('/') && path != "*" { "library/" } else { "" };
    format!("{host}/{library}{path}")
}

fn is_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

/// Repositories: one by its name, all below a path (`registry.example/shop/*`), or all (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// In the form of [`full_name`].
    full: String,
}

/// The text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern of repositories: registry.example/shop/app, registry.example/shop/* or *")]
pub struct PatternError(String);

impl Pattern {
    pub fn all() -> Self {
        Self { text: EVERYBODY.to_owned(), full: EVERYBODY.to_owned() }
    }

    /// Whether it says more than "all".
    pub fn is_specific(&self) -> bool {
        self.full != "*"
    }

    /// Whether a full name is one of these.
    pub fn matches(&self, full_name: &str) -> bool {
        match self.full.strip_suffix('*') {
            Some(before) => full_name.starts_with(before),
            None => full_name == self.full,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::all());
        }
        // The rules for names are those of references. A tag would be one.
        let name = text.strip_suffix("/*").map_or_else(|| text.to_owned(), |path| format!("{path}/all"));
        let reference = format!("{name}:latest").parse::<ImageReference>();
        if text.contains('*') && !text.ends_with("/*") || reference.is_err() {
            return Err(PatternError(text.chars().take(80).collect()));
        }
        Ok(Self { text: text.to_owned(), full: full_name(text) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(patterns: &[&str]) -> Policy {
        let repositories = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Policy { repositories, ..Policy::default() }
    }

    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let policies = [policy(&[pattern])];
        let is_found = |name: &&&str| !policy_of(&policies, name).repositories.is_empty();
        assert_eq!(matching.iter().find(|name| !is_found(name)), None, "{pattern} matches it");
        assert_eq!(other.iter().find(is_found), None, "{pattern} does not match it");
    }

    #[test]
    fn patterns_match_full_names() {
        check(
            "registry.example/shop/*",
            &["registry.example/shop/app", "registry.example/shop/a/b", "Registry.EXAMPLE/shop/app"],
            &["registry.example/shop", "registry.example/shopping/app", "registry.example:5000/shop/app", "shop/app"],
        );
        check("registry.example:5000/*", &["registry.example:5000/a"], &["registry.example/a"]);
        check("registry.example/a", &["registry.example/a"], &["registry.example/a/b", "a"]);
        check("*", &["a", "registry.example/a"], &[]);
        // Docker Hub's repositories have several names.
        let hub = ["nginx", "library/nginx", "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/nginx"];
        for pattern in ["nginx", "library/*", "docker.io/nginx", "docker.io/*"] {
            check(pattern, &hub, &["registry.example/nginx"]);
        }
        check("shop/*", &["shop/app", "docker.io/shop/app"], &["registry.example/shop/app"]);
    }

    #[test]
    fn the_first_policy_that_matches_counts() {
        let open = Policy { max_age_s: 1, ..policy(&["registry.example/shop/open", "a"]) };
        let rest = Policy { max_age_s: 2, ..policy(&["registry.example/shop/*"]) };
        let policies = [open, rest];
        for (name, age) in [("registry.example/shop/open", 1), ("registry.example/shop/app", 2), ("b", 60)] {
            assert_eq!(policy_of(&policies, name).max_age_s, age, "{name}");
        }
    }

    #[test]
    fn texts_that_are_no_patterns_are_refused() {
        for text in
            ["", "*/a", "a*", "registry.example/*/a", "/a", "UP", "a:1", "registry.example/a:1", "http://a", "a/**"]
        {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn users_and_members_are_lists() {
        let all = Policy::default();
        assert!(all.admits("ann") && !all.admits_everybody() && all.may_have(PeerId::new([1; 32])));
        let some = Policy { users: vec!["ann".into()], members: vec![PeerId::new([1; 32])], ..Policy::default() };
        assert!(some.admits("ann") && !some.admits("bob"));
        assert!(some.may_have(PeerId::new([1; 32])) && !some.may_have(PeerId::new([2; 32])));
        let everybody = Policy { users: vec!["*".into()], ..Policy::default() };
        assert!(everybody.admits_everybody() && everybody.admits("bob"));
    }
}
