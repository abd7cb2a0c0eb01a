//! MMTEL: a user's services, asked of homer at each call (sprout `src/mmtel.cpp`, `src/xdmconnection.cpp`).

use std::sync::Arc;

use crate::log::log;
use crate::net::dns::Ares;
use crate::net::http::{self, Request};
use crate::place::Settings;
use crate::ralf::send;
use crate::simservs::Services;

/// Who asks homer.
pub(crate) struct Mmtel {
    ares: Arc<Ares>,
    homer: String,
    /// What a profile holds whose user has telephony services. Of its criteria nothing else is looked at.
    named: String,
}

impl Mmtel {
    pub(crate) fn new(ares: Arc<Ares>, settings: &Settings) -> Self {
        Self {
            ares,
            homer: settings.get("xdms_hostname").to_owned(),
            named: format!("<ServerName>sip:mmtel.{}</ServerName>", settings.get_or("home_domain", "example.com")),
        }
    }

    /// The services of a user; none where his profile does not name MMTEL, or homer does not tell them.
    pub(crate) async fn services(&self, impu: &str, profile: &str) -> Services {
        if self.homer.is_empty() || !profile.contains(&self.named) {
            return Services::default();
        }
        let path = format!("/org.etsi.ngn.simservs/users/{}/simservs.xml", http::encode(impu));
        match send(&self.ares, &self.homer, 7888, Request::get(path)).await {
            Ok(answer) if answer.status == 200 => Services::read(&answer.body_text()),
            Ok(answer) => {
                log!(Debug, "mmtel.cpp:88", "Failed to fetch simservs configuration for {impu}: {}", answer.status);
                Services::default()
            }
            Err(err) => {
                log!(Error, "httpclient.cpp:640", "homer at {}: {err:#}", self.homer);
                Services::default()
            }
        }
    }
}
