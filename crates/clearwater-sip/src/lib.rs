//! A SIP phone, and cases that try whether an IMS carries registrations, messages and calls, and phones each other's media.
//!
//! The grammar, the transactions and the digest are `ezk-sip`'s; what is here is what a phone does with them, and what is
//! expected of Clearwater. A phone speaks over TCP or UDP to a proxy that is given as an address ([`Way`]), which may be
//! the near end of a relay.
//!
//! ```no_run
//! use std::time::Duration;
//! use clearwater_sip::{Account, Phone, Transport, Way};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let account = Account::new("sip:6505550000@example.com", "6505550000@example.com", "secret")?;
//! let way = Way { transport: Transport::Tcp, proxy: "192.0.2.1:5060".parse()?, tunnel: None };
//! let mut phone = Phone::open(account, way).await?;
//! let reply = phone.register(300, Duration::from_secs(5)).await?;
//! println!("{} {} after {:?}", reply.code(), reply.reason(), reply.after());
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod account;
mod call;
pub mod case;
mod error;
mod leg;
mod line;
pub mod load;
mod media;
mod phone;
mod reply;
mod subscription;
mod suspect;
mod transcript;
mod way;

use account::uri;
pub use account::{Account, AccountError, Transport};
pub use call::{Call, Invitation, Ringing};
pub use error::SipError;
pub use media::{MediaHeard, MediaKind, MediaReport, MediaSocket, MediaWay, media_address, session_description};
pub use phone::Phone;
pub use reply::Reply;
use reply::uri_of;
pub use subscription::{RegistrationNotice, Subscription};
pub use suspect::{Suspect, suspect_of};
pub use transcript::{Heading, Transcript, TranscriptEntry, together};
pub use way::{Ends, Way};

/// What README.md shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
