//! Which cipher a connection takes. libp2p's list begins with ChaCha20. A processor that has AES in hardware encrypts
//! with AES-GCM at several times that rate, so a node with such a processor asks for AES first. The node that dials
//! chooses, unless the one that is dialled has no such processor. All nodes know all of them.

use std::sync::Arc;

use noq::rustls::crypto::CryptoProvider;
use noq::rustls::{CipherSuite, SupportedCipherSuite};

/// Libp2p's algorithms, in the order that suits this processor.
pub fn in_order(libp2p: &CryptoProvider) -> Arc<CryptoProvider> {
    let mut provider = libp2p.clone();
    if has_aes() {
        // Among equals, libp2p's order stays.
        provider.cipher_suites.sort_by_key(rank);
    }
    Arc::new(provider)
}

/// AES of 128 bits has ten rounds, that of 256 bits has fourteen.
fn rank(suite: &SupportedCipherSuite) -> u8 {
    match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        _ => 2,
    }
}

/// Whether the processor has AES and the product that GCM needs.
#[cfg(target_arch = "x86_64")]
pub fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// Whether the processor has AES and the product that GCM needs.
#[cfg(target_arch = "aarch64")]
pub fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

/// No other processor is known to.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn has_aes() -> bool {
    false
}
