//! Subscribers: their identities, and numbers as people name them.
//!
//! A subscriber has a public identity, by which it is called (IMPU, 3GPP TS 23.228 §4.3.3.2), and a private one, by which
//! it proves who it is (IMPI, §4.3.3.1). The form of both is that of Ellis: `sip:NUMBER@DOMAIN` and `NUMBER@DOMAIN`
//! (ellis `src/metaswitch/ellis/api/numbers.py`).
//!
//! ```
//! use clearwater::subscriber::{Numbers, PublicIdentity};
//!
//! let numbers: Numbers = "6505550000..6505550002".parse()?;
//! assert_eq!(numbers.iter().collect::<Vec<_>>(), ["6505550000", "6505550001", "6505550002"]);
//! let identity = PublicIdentity::of("6505550000", "example.com")?;
//! assert_eq!(identity.as_str(), "sip:6505550000@example.com");
//! assert_eq!(identity.private_identity(), "6505550000@example.com");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod identity;
mod injection;
mod numbers;
mod phone;

pub use identity::{InvalidPublicIdentity, PublicIdentity};
pub use injection::{InjectionError, injection, read_injection};
pub use numbers::{InvalidNumbers, Numbers};
pub use phone::{Softphone, settings};

use secrecy::SecretString;

/// A line: what a phone is set up with.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// By which it is called: `sip:6505550000@example.com`.
    pub public_identity: PublicIdentity,
    /// By which it registers: `6505550000@example.com`.
    pub private_identity: String,
    /// The password that goes with the private identity, where it is known. `Debug` does not show it.
    pub password: Option<SecretString>,
}

impl Subscriber {
    /// The number: what stands before the domain.
    pub fn number(&self) -> &str {
        self.public_identity.number()
    }

    /// The same without its password.
    #[must_use]
    pub fn without_password(self) -> Self {
        Self { password: None, ..self }
    }
}
