//! The one call of OpenSSL that mogi needs and the `openssl` crate has not: which key a server
//! with shared keys asks for.
//!
//! It is a crate of its own so that all others forbid `unsafe`.

#![cfg(feature = "openssl")]
#![expect(unsafe_code, reason = "the openssl crate has no call for it")]

use openssl::error::ErrorStack;
use openssl::ssl::SslContextBuilder;
use std::ffi::{CStr, c_char, c_int, c_void};

unsafe extern "C" {
    fn SSL_CTX_use_psk_identity_hint(context: *mut c_void, hint: *const c_char) -> c_int;
}

/// Has a server's sessions tell their clients which key it asks for (RFC 4279 5.2). TLS 1.3 has no
/// place for it.
///
/// # Errors
/// The hint is longer than OpenSSL takes: 256 bytes, before its version 3 it is 128.
pub fn set(builder: &mut SslContextBuilder, hint: &CStr) -> Result<(), ErrorStack> {
    // SAFETY: the context is the builder's, which is borrowed mutably, and lives for the call. The
    // hint ends with a zero and lives for the call too: OpenSSL makes a copy of its own.
    let done = unsafe { SSL_CTX_use_psk_identity_hint(builder.as_ptr().cast(), hint.as_ptr()) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}
