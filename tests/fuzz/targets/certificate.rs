//! Certificates of peers. The file is built as it stands in `lighter_quic`, without that crate's transport.
//!
//! All of a certificate is read before its signatures are checked, so forged ones reach each reader.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use noq::rustls::pki_types::CertificateDer;

#[path = "../../../crates/quic/src/certificate.rs"]
mod certificate;

use certificate::Certificate;

fuzz_target!(|der: &[u8]| {
    let whole = CertificateDer::from(der);
    let Ok(found) = Certificate::check(&whole) else { return };
    // Whatever is accepted proves one PeerId, and nothing may stand behind it.
    assert_eq!(Certificate::check(&whole).map(|again| again.peer_id()), Ok(found.peer_id()));
    let longer = CertificateDer::from([der, &[0]].concat());
    assert!(Certificate::check(&longer).is_err());
});
