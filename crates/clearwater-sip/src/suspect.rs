//! What an answer that nobody wished for says of the exchange behind bono.

/// Who is to be looked at first, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The component, as Clearwater calls it.
    pub component: &'static str,
    /// What is likely wrong.
    pub reason: &'static str,
}

const fn suspect(component: &'static str, reason: &'static str) -> Suspect {
    Suspect { component, reason }
}

/// Who an answer to a phone points at.
///
/// The codes are those of sprout's and bono's sources (`icscfrouter.cpp`, `authenticationsproutlet.cpp`,
/// `registrarsproutlet.cpp`, `scscfsproutlet.cpp`), seen again on daemons that were built from them.
///
/// ```
/// let suspect = clearwater_sip::suspect_of("REGISTER", 480).unwrap();
/// assert_eq!(suspect.component, "homestead");
/// ```
pub fn suspect_of(method: &str, code: u16) -> Option<Suspect> {
    Some(match (method, code) {
        ("INVITE" | "MESSAGE", 408) => {
            suspect("sprout", "bono finds no address for the S-CSCF's name, or the called phone was not reached")
        }
        (_, 408) => suspect("sprout", "bono finds no address for it, or it does not answer there"),
        (_, 503) => suspect("sprout", "bono has no connection to it, or it has more to do than it takes"),
        (_, 482) => {
            suspect("sprout", "scscf_uri names the port of the I-CSCF (5052) where that of the S-CSCF is meant")
        }
        (_, 483) => suspect(
            "sprout",
            "it does not know the address in Route as its own and sends the request round: a virtual address",
        ),
        (_, 600) => suspect("sprout", "there is no S-CSCF to choose: scscf_uri or s-cscf.json"),
        (_, 305) => suspect("bono", "it is about to leave"),
        (_, 430) => suspect("bono", "it has lost the connection to the called phone, which has to register again"),
        ("REGISTER", 403) => {
            suspect("homestead", "it does not know the subscriber, or sprout finds no address for homestead")
        }
        ("REGISTER", 480) => suspect("homestead", "it answers that it cannot: its Cassandra, or its HSS"),
        ("REGISTER", 500) => suspect("astaire", "the challenge or the binding cannot be stored"),
        ("REGISTER" | "SUBSCRIBE", 504) => suspect("homestead", "it does not answer in time"),
        ("INVITE" | "MESSAGE", 403) => suspect("bono", "it does not know the phone as registered through it"),
        ("INVITE" | "MESSAGE", 404) => suspect("homestead", "it does not know the called number"),
        ("INVITE" | "MESSAGE", 480) => {
            suspect("homestead", "it cannot say where the called phone is, or no binding of it is in astaire")
        }
        ("INVITE" | "MESSAGE", 504) => suspect("homestead", "it does not answer in time during the call"),
        ("INVITE", 603) => suspect("homer", "the services that it keeps of a line bar the call"),
        ("SUBSCRIBE", 480) => suspect("homestead", "it does not know the line as registered"),
        ("SUBSCRIBE", 489) => suspect("sprout", "it keeps no subscriptions to registrations"),
        ("SUBSCRIBE", 500) => suspect("astaire", "the subscription cannot be stored"),
        ("INVITE" | "MESSAGE", 500) => suspect("astaire", "bindings cannot be read"),
        _ => return None,
    })
}
