//! Names of files, compared without versions.

/// The file's name, with one mark for each run of digits and dots: libfoo.so.1.2 and libfoo.so.1.3 have the same.
pub fn name_without_versions(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    without_versions(folders(path).rev().find(|part| !part.is_empty()).unwrap_or_default())
}

/// The path, or a name, with one mark for each run of digits and dots.
pub fn without_versions(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut is_in_version = false;
    path.iter().filter_map(move |&byte| {
        let is_digit = byte.is_ascii_digit();
        if is_in_version && (is_digit || byte == b'.') {
            return None;
        }
        is_in_version = is_digit;
        Some(if is_digit { b'0' } else { byte })
    })
}

/// The parts of a path.
pub fn folders(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// How many folders from the root on are the same without versions, and how many names from the last one up.
pub fn shared_folders(one: &[u8], other: &[u8]) -> usize {
    let front = folders(one).zip(folders(other)).take_while(|(a, b)| without_versions(a).eq(without_versions(b)));
    let back = folders(one).rev().zip(folders(other).rev()).take_while(|(a, b)| a == b);
    front.count() + back.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_make_another_name() {
        let same = |one: &str, other: &str| {
            assert!(name_without_versions(one.as_bytes()).eq(name_without_versions(other.as_bytes())), "{one} {other}");
        };
        same("usr/lib/libfoo.so.1.2", "lib/libfoo.so.1.13");
        same("a/package-1.2.10.dist-info", "a/package-1.2.9.dist-info");
        same("perl5.36.0", "perl5.40.1");
        assert!(name_without_versions(b"libfoo.so").ne(name_without_versions(b"libbar.so")));
    }
}
