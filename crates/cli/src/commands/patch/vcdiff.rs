//! `lighter patch export` and `lighter patch import`: patches as VCDIFF files for stock xdelta3.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lighter_node::FileBase;
use lighter_patch::{ExportError, Frame, export_vcdiff};
use lighter_types::Blame;
use lighter_vcdiff::{Feature, Limits, VcdiffError, decode_vcdiff};

use super::out::refuse_input;
use super::{REPORT_BUG, open_patch, write_whole};
use crate::exit::{Failure, Kind};
use crate::output::Output;

/// The result of `patch export`.
#[derive(serde::Serialize)]
struct Exported {
    out: String,
    patch: String,
    /// The file that `xdelta3 -d -s` needs, if the patch has a base.
    base: Option<String>,
}

/// The result of `patch import`.
#[derive(serde::Serialize)]
struct Imported {
    out: String,
    target_bytes: u64,
}

pub fn export(patch: &Path, out: &Path, output: &Output) -> Result<(), Failure> {
    refuse_input(out, [patch])?;
    let (header, file) = open_patch(patch)?;
    write_whole(out, |vcdiff| {
        export_vcdiff(&header, &mut |frame| read_payload(&file, frame), vcdiff).map_err(|error| {
            let failure = vcdiff_failure(patch, &error, error.blame());
            if matches!(error, ExportError::NotVcdiff { .. }) {
                failure.hint("make the patch again with `patch create --vcdiff`")
            } else {
                failure
            }
        })
    })?;
    let exported = Exported {
        out: out.display().to_string(),
        patch: header.id().to_string(),
        base: header.bases().first().map(|base| base.diff_id.to_string()),
    };
    let note = match &exported.base {
        Some(base) => format!("decode it with: xdelta3 -d -s BASE {} TARGET, BASE being {base}", exported.out),
        None => format!("decode it with: xdelta3 -d {} TARGET", exported.out),
    };
    output.done(&exported, note)
}

fn read_payload(file: &File, frame: &Frame) -> std::io::Result<Vec<u8>> {
    let mut payload = vec![0; frame.payload_bytes as usize];
    file.read_exact_at(&mut payload, frame.payload_offset).map(|()| payload)
}

pub fn import(path: &Path, base: &Path, out: &Path, output: &Output) -> Result<(), Failure> {
    refuse_input(out, [path, base])?;
    let input = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut input = BufReader::with_capacity(1 << 20, input);
    let base_file = File::open(base).map_err(|error| Failure::file("read", base, &error))?;
    let base_file = FileBase::new(base_file).map_err(|error| Failure::file("read", base, &error))?;
    let mut target_bytes = 0;
    write_whole(out, |target| {
        let decoded = decode_vcdiff(&mut input, &base_file, target, Limits::default());
        target_bytes = decoded.map_err(|error| import_failure(path, &error))?.0;
        Ok(())
    })?;
    let imported = Imported { out: out.display().to_string(), target_bytes };
    let note = format!("{} has {target_bytes} bytes", imported.out);
    output.done(&imported, note)
}

fn import_failure(path: &Path, error: &VcdiffError) -> Failure {
    let failure = vcdiff_failure(path, error, error.blame());
    match error {
        VcdiffError::Unsupported(Feature::OwnCodeTable) => failure.hint("write it with the default table"),
        VcdiffError::Unsupported(Feature::SecondaryCompression) => failure.hint("write it with `xdelta3 -S none`"),
        VcdiffError::Unsupported(Feature::CopiesFromFarWindows) => {
            failure.hint("write it with xdelta3, which never does that")
        }
        // The format has no checksum of the base: nothing tells which of the two it is.
        VcdiffError::Checksum { .. } | VcdiffError::Damaged { .. } => {
            failure.hint("the file is damaged, or it was made of another base: compare both with their sha256")
        }
        VcdiffError::Unsupported(Feature::UnknownHeaderFlag | Feature::UnknownWindowFlag)
        | VcdiffError::Magic { .. }
        | VcdiffError::Limit { .. }
        | VcdiffError::Input(_)
        | VcdiffError::Base { .. }
        | VcdiffError::Output(_) => failure,
    }
}

fn vcdiff_failure(path: &Path, error: &dyn std::error::Error, blame: Blame) -> Failure {
    let message = format!("{}: {}", path.display(), lighter_types::error_chain(error));
    match blame {
        Blame::Peer | Blame::Version => Failure::new(Kind::BadData, message),
        Blame::Caller => Failure::new(Kind::Usage, message),
        Blame::Machine => Failure::new(Kind::Machine, message),
        Blame::Bug => Failure::new(Kind::Other, message).hint(REPORT_BUG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_about_a_vcdiff_file_follows_from_its_error() {
        let hint = |error| import_failure(Path::new("x"), &error).hint_text().map(str::to_owned);
        assert_eq!(hint(VcdiffError::Unsupported(Feature::UnknownHeaderFlag)), None);
        assert_eq!(hint(VcdiffError::Input(std::io::ErrorKind::PermissionDenied.into())), None);
        let secondary = hint(VcdiffError::Unsupported(Feature::SecondaryCompression));
        assert!(secondary.is_some_and(|hint| hint.contains("-S none")));
    }
}
