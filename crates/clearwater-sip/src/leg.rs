//! What the requests of one dialog say again and again.

use ezk_sip_core::Request;
use ezk_sip_types::uri::SipUri;
use ezk_sip_types::{Method, Name};

/// What the requests of one dialog, or of one registration, have in common.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) call_id: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) number: u32,
}

impl Leg {
    /// From `local` to `remote`, both URIs; the first request will be number 1.
    pub(crate) fn new(local: &str, remote: &str) -> Self {
        Self {
            call_id: format!("{}@clearwater-test", token()),
            local: format!("<{local}>;tag={}", token()),
            remote: format!("<{remote}>"),
            number: 0,
        }
    }

    /// The next request.
    pub(crate) fn request(&mut self, method: &Method, target: SipUri) -> Request {
        self.number += 1;
        let mut request = Request::new(method.clone(), target);
        let headers = &mut request.headers;
        headers.insert(Name::FROM, self.local.as_str());
        headers.insert(Name::TO, self.remote.as_str());
        headers.insert(Name::CALL_ID, self.call_id.as_str());
        headers.insert(Name::CSEQ, format!("{} {method}", self.number));
        headers.insert(Name::MAX_FORWARDS, 70);
        request
    }
}

/// A word that nobody else chooses.
pub(crate) fn token() -> String {
    let mut bytes = [0; 10];
    // Without random numbers of the system the words of two runs are alike, which only their tests notice.
    if getrandom::fill(&mut bytes).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        bytes.copy_from_slice(&now.as_nanos().to_be_bytes()[6..]);
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
