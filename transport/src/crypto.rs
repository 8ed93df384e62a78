//! The one cryptography provider of the process.

/// Makes *ring* the provider of rustls. Every `main` and every test that builds an HTTP client calls
/// this first; calling it again is harmless. Without it the first client panics, even for `http:` URLs.
pub fn install() {
    // Fails only when a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
