//! Measures the speed of imports: `import_speed PATH [REPEAT]`, where PATH is the folder of an OCI layout or an image
//! archive. Scans every layer into a sink that discards the bytes. After the first round, the page cache holds the
//! files.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures reads files and clocks"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lighter_image::{ArchiveFiles, Files, Hashed, Limits, OpenFile, Selector, open_image};

struct Folder(PathBuf);

impl Files for Folder {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some(OpenFile { bytes: file.metadata()?.len(), reader: Box::new(file) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: import_speed PATH [REPEAT]")?;
    let repeat = std::env::args().nth(2).map_or(Ok(3), |text| text.parse())?;
    for _ in 0..repeat {
        let path = Path::new(&path);
        let files: Box<dyn Files> = match path.is_dir() {
            true => Box::new(Folder(path.to_owned())),
            false => Box::new(ArchiveFiles::open(&path.display().to_string(), File::open(path)?)?),
        };
        let mut image = open_image(files, &Selector::default(), Limits::default())?;
        for index in 0..image.image().layers.len() {
            let begin = Instant::now();
            let scan = image.scan_layer(index, &mut Hashed::new(io::sink()), &mut |_| {})?;
            let seconds = begin.elapsed().as_secs_f64();
            let card = scan.card;
            println!(
                "{} tar {} compressed {} {:.2} s {:.0} MB/s",
                card.diff_id,
                card.tar_bytes.0,
                card.compressed_bytes.0,
                seconds,
                card.tar_bytes.0 as f64 / seconds / 1e6
            );
        }
    }
    Ok(())
}
