//! `lighter release`: sign, cosign, hand over, forget. A record goes to stdout, and comes from a file or stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lighter_api::{ForgetRequest, HandoverRequest, ReleaseSignRequest, SignedRecord, paths};

use crate::args::ReleaseCommand;
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::output::Output;

/// The longest file of a record: twice the bytes of a release, and the words around it.
const FILE_BYTES_MAX: u64 = 16 << 10;

pub fn run(command: ReleaseCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket)?;
    match command {
        ReleaseCommand::Sign { reference, expires } => {
            let request = ReleaseSignRequest { reference, lifetime_s: expires };
            let signed: SignedRecord = client.post(paths::RELEASES_SIGN, &request)?;
            output.done(&signed, format!("signed a new release of {}", request.reference))
        }
        ReleaseCommand::Export { reference } => print(output, &client.get(&paths::release(&reference))?),
        ReleaseCommand::Cosign { file } => print(output, &client.post(paths::RELEASES_COSIGN, &read(&file)?)?),
        ReleaseCommand::Add { file } => {
            let added: SignedRecord = client.post(paths::RELEASES_ADD, &read(&file)?)?;
            let what = match added {
                SignedRecord::Release(_) => "added the release",
                SignedRecord::Handover(_) => "obeying the handover",
            };
            output.done(&added, what)
        }
        ReleaseCommand::Handover { repository, to } => {
            print(output, &client.post(paths::RELEASES_HANDOVER, &HandoverRequest { repository, to })?)
        }
        ReleaseCommand::Forget { reference, handovers } => {
            let forgotten: ForgetRequest =
                client.post(paths::RELEASES_FORGET, &ForgetRequest { reference, handovers })?;
            output.done(&forgotten, format!("forgot the newest release of {}", forgotten.reference))
        }
    }
}

/// A record is one line of JSON in every format: a file of it can be read again.
fn print(output: &Output, record: &SignedRecord) -> Result<(), Failure> {
    output.value(record, |record| serde_json::to_string(record).unwrap_or_default())
}

fn read(path: &Path) -> Result<SignedRecord, Failure> {
    let failed = |error: io::Error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Machine };
        Failure::new(kind, format!("cannot read {}: {error}", path.display()))
    };
    let mut text = String::new();
    let mut reader: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    reader.by_ref().take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    let wrong = |error| Failure::new(Kind::BadData, format!("{} is no record of a release: {error}", path.display()));
    serde_json::from_str(&text).map_err(wrong)
}
