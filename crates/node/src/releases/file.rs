//! Signed records on their way through an operator's hands, as hexadecimal text.

use lighter_api::SignedRecord;
use lighter_wire::{Message, SignedHandover, SignedRelease, WireError};

/// A record that was read.
pub enum Record {
    Release(Box<SignedRelease>),
    Handover(SignedHandover),
}

/// The text is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the record is not hexadecimal text of {0} digits at most")]
    Text(usize),
    #[error(transparent)]
    Wire(#[from] WireError),
}

pub fn of_release(release: &SignedRelease) -> Result<SignedRecord, WireError> {
    Ok(SignedRecord::Release(hex(&release.encode()?)))
}

pub fn of_handover(handover: &SignedHandover) -> Result<SignedRecord, WireError> {
    Ok(SignedRecord::Handover(hex(&handover.encode()?)))
}

/// # Errors
/// If the text is no record. Its signature is not checked.
pub fn read(record: &SignedRecord) -> Result<Record, RecordError> {
    Ok(match record {
        SignedRecord::Release(text) => {
            let bytes = bytes_of(text, SignedRelease::BYTES_MAX)?;
            Record::Release(Box::new(SignedRelease::decode(&bytes)?))
        }
        SignedRecord::Handover(text) => {
            Record::Handover(SignedHandover::decode(&bytes_of(text, SignedHandover::BYTES_MAX)?)?)
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str, bytes_max: usize) -> Result<Vec<u8>, RecordError> {
    let wrong = || RecordError::Text(2 * bytes_max);
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() <= 2 * bytes_max).ok_or_else(wrong)?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
