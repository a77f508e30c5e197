//! Stands in for bindgen 0.52 in the build script of the `xdelta3` crate, and forwards to the bindgen that `rocksdb`
//! uses: only one version can link the native `clang` library. It has the calls that build script makes and no others.

use std::io;
use std::path::Path;

/// Accepted where bindgen 0.52 wanted its Cargo callbacks; the headers are vendored, so nothing has to be watched.
#[derive(Debug)]
pub struct CargoCallbacks;

/// The callbacks that [`Builder::parse_callbacks`] accepts.
pub trait ParseCallbacks: std::fmt::Debug {}
impl ParseCallbacks for CargoCallbacks {}

/// bindgen 0.52's builder, as far as `xdelta3` uses it.
#[derive(Debug, Default)]
pub struct Builder(real::Builder);

impl Builder {
    pub fn clang_arg(self, argument: String) -> Self {
        Self(self.0.clang_arg(argument))
    }

    pub fn header(self, path: &str) -> Self {
        Self(self.0.header(path))
    }

    pub fn parse_callbacks(self, _callbacks: Box<dyn ParseCallbacks>) -> Self {
        self
    }

    pub fn whitelist_function(self, pattern: &str) -> Self {
        Self(self.0.allowlist_function(pattern))
    }

    /// # Errors
    /// Whatever bindgen says of the header.
    pub fn generate(self) -> Result<Bindings, real::BindgenError> {
        self.0.generate().map(Bindings)
    }
}

/// The generated Rust declarations.
#[derive(Debug)]
pub struct Bindings(real::Bindings);

impl Bindings {
    /// # Errors
    /// Whatever writing the file says.
    pub fn write_to_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.0.write_to_file(path)
    }
}
