//! `[images]`: which releases count, by their publishers and their end.

use lighter_types::PeerId;
use serde::{Deserialize, Serialize};

use super::policy::{POLICIES_MAX, Pattern, full_name};
use super::values::text_list;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    pub expired: WhenExpired,
    pub scope: Vec<Scope>,
}

/// The worth of a release after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenExpired {
    /// It counts, and the operator is told.
    #[default]
    Warn,
    /// It does not count.
    Hold,
}

/// The publishers of some repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    #[serde(with = "text_list")]
    pub repositories: Vec<Pattern>,
    #[serde(with = "text_list")]
    pub publishers: Vec<PeerId>,
    /// So many of the publishers must sign the same release.
    pub threshold: u32,
}

/// Patterns or publishers of one scope.
const ENTRIES_MAX: usize = 1024;
/// A release has room for one signature and so many further ones.
const THRESHOLD_MAX: usize = 1 + lighter_wire::COSIGNATURES_MAX;

impl Default for Scope {
    fn default() -> Self {
        Self { repositories: Vec::new(), publishers: Vec::new(), threshold: 1 }
    }
}

impl Scope {
    /// The first contradiction.
    fn check(&self) -> Result<(), String> {
        let lists = [self.repositories.len(), self.publishers.len()];
        if lists.iter().any(|length| *length == 0 || *length > ENTRIES_MAX) {
            return Err(format!("needs repositories and publishers, at most {ENTRIES_MAX} of each"));
        }
        let signers_max = self.publishers.len().min(THRESHOLD_MAX);
        if !(1..=signers_max).contains(&(self.threshold as usize)) {
            return Err(format!("threshold must be from 1 to {signers_max}"));
        }
        Ok(())
    }
}

impl Images {
    /// The first scope with a pattern that matches a repository, by any of its names.
    pub fn scope_of(&self, repository: &str) -> Option<&Scope> {
        let name = full_name(repository);
        self.scope.iter().find(|scope| scope.repositories.iter().any(|pattern| pattern.matches(&name)))
    }

    /// The first wrong key, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.scope.len() > POLICIES_MAX {
            return Err(("images.scope", format!("must be {POLICIES_MAX} tables at most")));
        }
        for (index, scope) in self.scope.iter().enumerate() {
            scope.check().map_err(|why| ("images.scope", format!("table {}: {why}", index + 1)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(publishers: u8, threshold: u32) -> Scope {
        let publishers = (0..publishers).map(|number| PeerId::new([number; 32])).collect();
        Scope { repositories: vec!["demo/*".parse().unwrap()], publishers, threshold }
    }

    #[test]
    fn a_threshold_can_be_reached() {
        for (publishers, threshold, is_right) in [(1, 1, true), (3, 2, true), (20, 9, true), (20, 10, false)]
            .into_iter()
            .chain([(3, 0, false), (2, 3, false), (0, 1, false)])
        {
            let images = Images { scope: vec![scope(publishers, threshold)], ..Images::default() };
            assert_eq!(images.check().is_ok(), is_right, "{threshold} of {publishers}");
        }
    }

    #[test]
    fn the_first_scope_that_matches_counts_for_every_name_of_a_repository() {
        let all = Scope { repositories: vec![Pattern::all()], ..scope(2, 2) };
        let images = Images { scope: vec![scope(1, 1), all], ..Images::default() };
        assert_eq!(images.scope_of("docker.io/demo/app").unwrap().threshold, 1);
        assert_eq!(images.scope_of("demo/app").unwrap().threshold, 1);
        assert_eq!(images.scope_of("other/app").unwrap().threshold, 2);
        assert_eq!(Images::default().scope_of("demo/app"), None);
    }

    /// The table of a scope in the template is a comment, so that no repository has one.
    #[test]
    fn the_template_documents_the_keys_of_scopes() {
        let lines = crate::config::TEMPLATE.lines().skip_while(|line| !line.starts_with("# [[images.scope]]"));
        let lines = lines.take_while(|line| line.starts_with('#')).map(|line| &line[2..]);
        let table: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
        let documented = table["images"]["scope"][0].as_table().unwrap();
        let known = toml::Table::try_from(Scope::default()).unwrap();
        assert!(documented.keys().eq(known.keys()), "{documented:?}");
        assert_eq!(documented["threshold"], known["threshold"]);
    }
}
