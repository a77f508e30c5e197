//! The layers in a folder, by name. `nginx-r2.tar` is the second release of nginx. A tar with another form of name is
//! the only release of its own package.

use std::path::{Path, PathBuf};

use crate::exit::{Failure, Kind};

/// A tar in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    pub package: String,
    /// N of `-rN`.
    pub number: Option<u64>,
    pub path: PathBuf,
}

impl Release {
    /// Reads a path; `None` if it does not end in `.tar`.
    fn from_path(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".tar")?;
        let numbered = name.rsplit_once("-r").and_then(|(package, number)| {
            let is_number = !package.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            Some((package.to_owned(), number.parse().ok().filter(|_| is_number)?))
        });
        Some(match numbered {
            Some((package, number)) => Self { package, number: Some(number), path },
            None => Self { package: name.to_owned(), number: None, path },
        })
    }

    /// The file's name without `.tar`.
    pub fn name(&self) -> String {
        self.number.map_or_else(|| self.package.clone(), |number| format!("{}-r{number}", self.package))
    }
}

/// The tars of a folder by package, then by number.
///
/// # Errors
/// `NotFound` if there is no such folder, `Usage` if it is none.
pub fn releases(dir: &Path) -> Result<Vec<Release>, Failure> {
    let mut releases = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| folder_failure(dir, &error))? {
        let path = entry.map_err(|error| folder_failure(dir, &error))?.path();
        if path.is_file() {
            releases.extend(Release::from_path(path));
        }
    }
    releases.sort();
    Ok(releases)
}

fn folder_failure(dir: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotADirectory => Failure::new(Kind::Usage, format!("{} is no folder", dir.display())),
        _ => Failure::file("read", dir, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<(&str, Option<u64>)>) {
        let found = Release::from_path(PathBuf::from(name));
        let found = found.as_ref().map(|release| (release.package.as_str(), release.number));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn names_tell_package_and_release() {
        check("nginx-r2.tar", Some(("nginx", Some(2))));
        check("my-router-r10.tar", Some(("my-router", Some(10))));
        check("a-r1-r2.tar", Some(("a-r1", Some(2))));
        check("nginx.tar", Some(("nginx", None)));
        check("nginx-r.tar", Some(("nginx-r", None)));
        check("nginx-r+2.tar", Some(("nginx-r+2", None)));
        check("-r2.tar", Some(("-r2", None)));
        check("nginx-r2.tar.gz", None);
    }

    #[test]
    fn releases_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b-r1.tar", "a-r10.tar", "a-r9.tar", "notes.txt"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let names: Vec<String> = releases(folder.path()).unwrap().iter().map(Release::name).collect();
        assert_eq!(names, ["a-r9", "a-r10", "b-r1"]);
    }
}
