//! The grammar of `release`.

use std::path::PathBuf;

use clap::Subcommand;
use lighter_types::{ImageReference, PeerId};

#[derive(Subcommand)]
pub enum ReleaseCommand {
    /// Sign a new release of an image that the node holds, without another import: with a later end, or by another key.
    Sign {
        reference: ImageReference,
        /// The release expires after this time, such as 90d, 12h or 30m. Default: never.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// Print the record of an image's release, for another publisher to sign.
    Export { reference: ImageReference },
    /// Add the node's signature to the record of another publisher, and print the record.
    ///
    /// The node must hold the image: pull it by its digest first.
    Cosign {
        /// A file that `release export` printed; - reads standard input.
        file: PathBuf,
    },
    /// Take in a record: a release of an image that the node holds, or a handover.
    Add {
        /// A file that `release cosign` or `release handover` printed; - reads standard input.
        file: PathBuf,
    },
    /// Hand a repository over from the node's key to another key, for good, and print the record.
    ///
    /// Nodes that believe the old key believe the new one from then on, and what the old key signs later does not
    /// count. The statement travels with the releases of the repository.
    Handover {
        /// The repository, as in the names of its images.
        repository: String,
        /// The PeerId of the new publisher.
        #[arg(long, value_name = "PEER")]
        to: PeerId,
    },
    /// Forget the newest release of a name that the node has seen, so that an older one counts.
    Forget {
        reference: ImageReference,
        /// Also forget the handovers of the repository.
        #[arg(long)]
        handovers: bool,
    },
}

/// A time with its unit, in seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: a number and s, m, h or d, such as 90d");
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let unit = units.into_iter().find(|(unit, _)| text.ends_with(*unit));
    let (unit, seconds) = unit.ok_or_else(wrong)?;
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(wrong)?;
    count.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [("90d", 7_776_000), ("12h", 43_200), ("30m", 1_800), ("1s", 1)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "d", "90", "0d", "-1d", "1w", "1.5d", "99999999999999999999d", "999999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
