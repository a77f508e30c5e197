//! The records of a pax header that say where an entry's content ends and what it is called.
//! Source: POSIX.1-2017 pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files" for `GNU.sparse.*`.

/// The records of a pax header that matter here; the others are skipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The real path of a sparse file, whose `path` is made up.
    pub(super) sparse_path: Option<Vec<u8>>,
    pub(super) is_sparse: bool,
}

impl PaxRecords {
    /// Reads `length SPACE key=value NEWLINE` records; `None` where they are malformed. The last of a key counts.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut records = Self::default();
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
            let length: usize = decimal(&bytes[..space])?.try_into().ok()?;
            let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            bytes = &bytes[length..];
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => records.path = Some(value.to_vec()),
                b"linkpath" => records.link = Some(value.to_vec()),
                b"size" => records.size = Some(decimal(value)?),
                b"GNU.sparse.name" => records.sparse_path = Some(value.to_vec()),
                _ => {}
            }
            records.is_sparse |= key.starts_with(b"GNU.sparse.");
        }
        Some(records)
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text).ok()?;
    // `parse` would take a sign.
    if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_and_refuses_malformed_ones() {
        let good = PaxRecords::parse(b"12 path=a/b\n10 size=8\n18 mtime=1.5e9999\n").unwrap();
        assert_eq!(good, PaxRecords { path: Some(b"a/b".to_vec()), size: Some(8), ..PaxRecords::default() });
        for bad in [
            &b"12 path=a/b"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"2 \n",
            b"7 path\n",
            b"+9 size=8\n",
            b"10 size=x\n",
            b"10 size=-\n",
            b"99999999999999999999 a=b\n",
            b"x",
            b"3 \n",
        ] {
            assert_eq!(PaxRecords::parse(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
