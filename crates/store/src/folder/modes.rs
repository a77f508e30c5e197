//! The modes of the data folder: other users of the machine may not read it, because images may be private.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::Folder;
use crate::error::Result;

const FOLDER_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;

impl Folder {
    pub(super) fn create_dir(&self, path: &Path) -> Result<()> {
        self.step("create the folder", path)?;
        let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
        created.map_err(|error| self.failure("create the folder", path, error))
    }

    /// Takes the rights of other users to a folder. Programs before this rule, and operators, created it with more.
    pub(super) fn close_to_others(&mut self, path: &Path) -> Result<()> {
        let mode =
            fs::metadata(path).map_err(|error| self.failure("inspect", path, error))?.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            return Ok(());
        }
        self.step("close to other users", path)?;
        let closed = fs::set_permissions(path, Permissions::from_mode(mode & FOLDER_MODE));
        closed.map_err(|error| self.failure("close to other users", path, error))?;
        self.was_exposed.push((path.to_owned(), mode));
        Ok(())
    }
}
