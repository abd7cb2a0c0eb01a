//! What sprout keeps of a user in the store, his bindings and the subscriptions to them, and whom a change of it is told
//! (sprout `src/aor.cpp`, `src/subscriber_data_manager.cpp`).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contact::{self, Contact, Contacts};
use crate::place;

/// Where a user is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) uri: String,
    pub(crate) path: String,
    /// Milliseconds since 1970.
    pub(crate) expires_at: u64,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) impi: String,
    /// How much its phone would be called before others, in thousandths: told back, and heeded by nobody.
    #[serde(default)]
    pub(crate) q: u16,
    /// The Contact's other parameters.
    #[serde(default)]
    pub(crate) params: BTreeMap<String, String>,
}

impl Binding {
    /// What it is known by.
    pub(crate) fn id(&self) -> Cow<'_, str> {
        contact::id_of(&self.uri, &self.params)
    }

    /// Its Contact in a 200.
    pub(crate) fn told(&self, now: u64) -> String {
        contact::told(&self.uri, self.q, self.expires_at.saturating_sub(now).div_ceil(1000), &self.params)
    }
}

/// A REGISTER that is allowed: what all its bindings have of it.
#[derive(Debug, Clone)]
pub(crate) struct Registering {
    pub(crate) contacts: Contacts,
    pub(crate) path: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) impi: String,
    /// Seconds that a Contact gets which asks for none itself.
    pub(crate) expires: u64,
    /// The most seconds that it gets.
    pub(crate) most: u64,
}

impl Registering {
    /// How long a Contact is kept, in seconds.
    pub(crate) fn seconds(&self, contact: &Contact) -> u64 {
        contact.expires.unwrap_or(self.expires).min(self.most)
    }
}

/// A subscription to a user's registration (RFC 3680), as the SUBSCRIBE that made it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// The tag of To, by which it is known.
    pub(crate) id: String,
    pub(crate) contact: String,
    pub(crate) call_id: String,
    /// The URI of To.
    pub(crate) to: String,
    /// The URI of From.
    pub(crate) from: String,
    pub(crate) from_tag: String,
    /// The Record-Routes, in order.
    pub(crate) routes: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) expires_at: u64,
    /// Of the last NOTIFY.
    pub(crate) cseq: u32,
    /// Whether a SUBSCRIBE has just made or renewed it.
    #[serde(skip)]
    pub(crate) fresh: bool,
}

/// A user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Aor {
    pub(crate) bindings: Vec<Binding>,
    /// chronos' name of the expiry timer.
    pub(crate) timer: Option<String>,
    #[serde(default)]
    pub(crate) subscriptions: Vec<Subscription>,
    /// The implicit registration set.
    #[serde(default)]
    pub(crate) identities: Vec<String>,
}

/// What a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// The user's own request.
    User,
    /// Its time ran out.
    Timeout,
    /// Somebody takes the registration away.
    Admin,
}

/// A NOTIFY that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// As it is from now on.
    pub(crate) subscription: Subscription,
    /// The value of Subscription-State.
    pub(crate) state: String,
    /// `application/reginfo+xml`
    pub(crate) body: String,
}

/// What became of a binding: the word of RFC 3680 for it, and whether it is still there.
struct Told<'a> {
    binding: &'a Binding,
    event: &'static str,
    active: bool,
}

impl Subscription {
    /// What a SUBSCRIBE asks for, by the names of its parts; `expires_at` is when it ends.
    pub(crate) fn of<'a>(part: impl Fn(&str) -> &'a str, expires_at: u64) -> Self {
        let own = |name: &str| part(name).to_owned();
        let id = if part("to_tag").is_empty() { place::uuid().replace('-', "") } else { own("to_tag") };
        Self {
            id,
            contact: own("contact"),
            call_id: own("call_id"),
            to: own("to"),
            from: own("from"),
            from_tag: own("from_tag"),
            routes: part("routes").split(',').map(|r| r.trim().to_owned()).filter(|r| !r.is_empty()).collect(),
            expires_at,
            cseq: 0,
            fresh: true,
        }
    }
}

impl Aor {
    /// Takes away what is past its time; without bindings nothing can be subscribed to (3GPP TS 24.229 §5.4.2.1.2).
    pub(crate) fn expire(&mut self, now: u64) {
        self.bindings.retain(|b| b.expires_at > now);
        let alone = self.bindings.is_empty();
        self.subscriptions.retain(|s| !alone && s.expires_at > now);
    }

    /// When the first of it is past its time.
    pub(crate) fn first_expiry(&self) -> Option<u64> {
        let bindings = self.bindings.iter().map(|b| b.expires_at);
        bindings.chain(self.subscriptions.iter().map(|s| s.expires_at)).min()
    }

    /// Makes, renews and takes away bindings, which stand in the order of what they are known by. One of a REGISTER that
    /// is older than the last one of its Call-ID stays as it is (RFC 3261 §10.3, step 7).
    pub(crate) fn register(&mut self, asked: &Registering, now: u64) {
        let contacts = match &asked.contacts {
            Contacts::All => return self.bindings.clear(),
            Contacts::These(contacts) => contacts,
        };
        for contact in contacts {
            let fresh = Binding {
                uri: contact.uri.clone(),
                path: asked.path.clone(),
                expires_at: now + asked.seconds(contact) * 1000,
                call_id: asked.call_id.clone(),
                cseq: asked.cseq,
                impi: asked.impi.clone(),
                q: contact.q,
                params: contact.params.clone(),
            };
            match self.bindings.binary_search_by(|b| b.id().cmp(&fresh.id())) {
                Ok(at) => {
                    let old = &mut self.bindings[at];
                    if old.call_id != fresh.call_id || old.cseq < fresh.cseq {
                        *old = fresh;
                    }
                }
                Err(at) => self.bindings.insert(at, fresh),
            }
        }
    }

    /// Makes a subscription, or renews it; one for no time goes when time is looked at.
    pub(crate) fn subscribe(&mut self, asked: &Subscription) {
        let cseq = self.subscriptions.iter().find(|s| s.id == asked.id).map_or(0, |s| s.cseq);
        self.subscriptions.retain(|s| s.id != asked.id);
        self.subscriptions.push(Subscription { cseq, fresh: true, ..asked.clone() });
    }
}

/// What a change of a user is to be told, counted in the subscriptions. `asked` is the subscription that came with the
/// change: one for no time at all is told once.
pub(crate) fn notices(
    before: &Aor,
    after: &mut Aor,
    trigger: Trigger,
    asked: Option<&Subscription>,
    now: u64,
) -> Vec<Notice> {
    let told = bindings(&before.bindings, &after.bindings, trigger);
    let changed = told.iter().any(|t| t.event != "registered") || before.identities != after.identities;
    let active = !after.bindings.is_empty();
    // Over a binding that is gone nothing is sent, but where somebody else took it away.
    let is_gone = |uri: &str| told.iter().any(|t| !t.active && t.binding.uri == uri);
    let lost = |s: &Subscription| trigger != Trigger::Admin && is_gone(&s.contact);
    let mut out = Vec::new();
    let mut gone: Vec<&Subscription> = before.subscriptions.iter().collect();
    gone.extend(asked.filter(|asked| !before.subscriptions.iter().any(|s| s.id == asked.id)));
    for subscription in gone {
        if after.subscriptions.iter().any(|s| s.id == subscription.id) || lost(subscription) {
            continue;
        }
        let state = format!("terminated;reason={}", if active { "timeout" } else { "deactivated" });
        let body = reginfo(&subscription.id, &after.identities, &told, active);
        let subscription = Subscription { cseq: subscription.cseq + 1, ..subscription.clone() };
        out.push(Notice { subscription, state, body });
    }
    for subscription in &mut after.subscriptions {
        if lost(subscription) || !(changed || subscription.fresh) {
            continue;
        }
        subscription.cseq += 1;
        let left = subscription.expires_at.saturating_sub(now).div_ceil(1000);
        let body = reginfo(&subscription.id, &after.identities, &told, active);
        out.push(Notice { subscription: subscription.clone(), state: format!("active;expires={left}"), body });
    }
    out
}

/// What became of each binding. Its time is one of whole seconds.
fn bindings<'a>(before: &'a [Binding], after: &'a [Binding], trigger: Trigger) -> Vec<Told<'a>> {
    let is_there = |of: &[Binding], id: &str| of.iter().any(|b| b.id() == id);
    let why = match trigger {
        Trigger::User => "unregistered",
        Trigger::Timeout => "expired",
        Trigger::Admin => "deactivated",
    };
    let gone = before.iter().filter(|b| !is_there(after, &b.id()));
    let gone = gone.map(|binding| Told { binding, event: why, active: false });
    let left = after.iter().map(|binding| {
        let earlier = before.iter().find(|e| e.id() == binding.id()).map(|e| e.expires_at / 1000);
        let event = match earlier.map(|earlier| earlier.cmp(&(binding.expires_at / 1000))) {
            None => "created",
            Some(Ordering::Less) => "refreshed",
            Some(Ordering::Greater) => "shortened",
            Some(Ordering::Equal) => "registered",
        };
        Told { binding, event, active: true }
    });
    gone.chain(left).collect()
}

/// The state of a registration in whole, once for each identity of the set (sprout `src/notify_utils.cpp`).
fn reginfo(id: &str, identities: &[String], told: &[Told<'_>], active: bool) -> String {
    let word = |active: bool| if active { "active" } else { "terminated" };
    let contacts: String = told
        .iter()
        .map(|Told { binding, event, active }| {
            let (id, uri, state) = (escaped(&binding.id()), escaped(&binding.uri), word(*active));
            let params = binding.params.iter();
            let params: String = params.map(|(name, value)| unknown(&escaped(name), &escaped(value))).collect();
            format!("<contact id=\"{id}\" state=\"{state}\" event=\"{event}\"><uri>{uri}</uri>{params}</contact>")
        })
        .collect();
    let state = word(active);
    let registrations: String = identities
        .iter()
        .map(|aor| {
            let (aor, id) = (escaped(aor), escaped(id));
            format!("<registration aor=\"{aor}\" id=\"{id}\" state=\"{state}\">{contacts}</registration>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" \
         xmlns:gr=\"urn:ietf:params:xml:ns:gruuinfo\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xmlns:ere=\"urn:3gpp:ns:extRegExp:1.0\" version=\"0\" state=\"full\">{registrations}</reginfo>"
    )
}

fn unknown(name: &str, value: &str) -> String {
    format!("<unknown-param name=\"{name}\">{value}</unknown-param>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}

/// The public identities of a user's profile: those of his implicit registration set.
pub(crate) fn identities(reg_data: &str) -> impl Iterator<Item = &str> {
    reg_data.split("<Identity>").skip(1).filter_map(|rest| rest.split_once("</Identity>")).map(|(uri, _)| uri.trim())
}

/// The identity that bindings are kept under: the first of the set that this one is of.
pub(crate) fn default_of(reg_data: &str, impu: &str) -> String {
    identities(reg_data).next().unwrap_or(impu).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(uri: &str, expires_at: u64) -> Binding {
        let text = String::new;
        let (params, uri) = (BTreeMap::new(), uri.to_owned());
        Binding { uri, path: text(), expires_at, call_id: text(), cseq: 0, impi: text(), q: 0, params }
    }

    fn subscription(id: &str, contact: &str, expires_at: u64) -> Subscription {
        Subscription {
            id: id.to_owned(),
            contact: contact.to_owned(),
            call_id: "c".to_owned(),
            to: "sip:a@z".to_owned(),
            from: "sip:a@z".to_owned(),
            from_tag: "f".to_owned(),
            routes: Vec::new(),
            expires_at,
            cseq: 0,
            fresh: false,
        }
    }

    fn aor(bindings: &[(&str, u64)], subscriptions: &[(&str, &str, u64)]) -> Aor {
        Aor {
            bindings: bindings.iter().map(|(uri, at)| binding(uri, *at)).collect(),
            subscriptions: subscriptions.iter().map(|(id, of, at)| subscription(id, of, *at)).collect(),
            identities: vec!["sip:a@z".to_owned()],
            timer: None,
        }
    }

    /// What is sent: to whom, the state, and how often an event stands in the body.
    fn told(notices: &[Notice], event: &str) -> Vec<(String, String, usize)> {
        let event = format!("event=\"{event}\"");
        let of = |n: &Notice| (n.subscription.id.clone(), n.state.clone(), n.body.matches(&event).count());
        notices.iter().map(of).collect()
    }

    fn one(id: &str, state: &str, count: usize) -> Vec<(String, String, usize)> {
        vec![(id.to_owned(), state.to_owned(), count)]
    }

    #[test]
    fn what_changes_is_told_to_who_asked_and_over_no_binding_that_is_gone() {
        let before = aor(&[("sip:1", 300_000), ("sip:2", 300_000)], &[("s", "sip:1", 200_000)]);
        // Again within the second: nothing is new.
        let mut after = before.clone();
        assert!(notices(&before, &mut after, Trigger::User, None, 0).is_empty());
        after.bindings[0].expires_at = 302_000;
        let sent = notices(&before, &mut after, Trigger::User, None, 0);
        assert_eq!(told(&sent, "refreshed"), one("s", "active;expires=200", 1));
        assert_eq!((sent[0].subscription.cseq, after.subscriptions[0].cseq), (1, 1));
        after.bindings[0].expires_at = 3_000;
        assert_eq!(told(&notices(&before, &mut after, Trigger::User, None, 0), "shortened")[0].2, 1);
        // The other one goes.
        let mut after = before.clone();
        after.bindings.remove(1);
        let sent = notices(&before, &mut after, Trigger::User, None, 0);
        assert_eq!(told(&sent, "unregistered"), one("s", "active;expires=200", 1));
        assert!(sent[0].body.contains("<contact id=\"sip:1\" state=\"active\" event=\"registered\"><uri>sip:1</uri>"));
        // Its own goes: nobody is told, unless it was taken away.
        let mut after = before.clone();
        after.bindings.remove(0);
        assert!(notices(&before, &mut after.clone(), Trigger::User, None, 0).is_empty());
        assert_eq!(told(&notices(&before, &mut after, Trigger::Admin, None, 0), "deactivated")[0].2, 1);
    }

    #[test]
    fn with_the_last_binding_or_its_own_time_a_subscription_ends() {
        let before = aor(&[("sip:1", 300_000)], &[("s", "sip:9", 5_000)]);
        let mut after = before.clone();
        after.expire(5_000);
        let sent = notices(&before, &mut after, Trigger::Timeout, None, 5_000);
        assert_eq!(told(&sent, "registered"), one("s", "terminated;reason=timeout", 1));
        let mut after = before.clone();
        after.bindings.clear();
        after.expire(0);
        let sent = notices(&before, &mut after, Trigger::User, None, 0);
        assert_eq!(told(&sent, "unregistered"), one("s", "terminated;reason=deactivated", 1));
        assert!(
            sent[0].body.contains("<registration aor=\"sip:a@z\" id=\"s\" state=\"terminated\">"),
            "{}",
            sent[0].body
        );
        assert_eq!(before.first_expiry(), Some(5_000));
    }

    #[test]
    fn each_subscribe_is_told_once_and_one_for_no_time_too() {
        let before = aor(&[("sip:1", 300_000)], &[]);
        let mut after = before.clone();
        let asked = subscription("s", "sip:1", 60_000);
        after.subscribe(&asked);
        after.expire(0);
        let sent = notices(&before, &mut after, Trigger::User, Some(&asked), 0);
        assert_eq!(told(&sent, "registered"), one("s", "active;expires=60", 1));
        // As it comes back from the store, where freshness is not kept.
        let before: Aor = serde_json::from_str(&serde_json::to_string(&after).unwrap()).unwrap();
        let mut after = before.clone();
        let asked = subscription("s", "sip:1", 0);
        after.subscribe(&asked);
        after.expire(0);
        let sent = notices(&before, &mut after, Trigger::User, Some(&asked), 0);
        assert_eq!(told(&sent, "registered"), one("s", "terminated;reason=timeout", 1));
        assert_eq!(sent[0].subscription.cseq, 2);
        // One that never was.
        let before = aor(&[("sip:1", 300_000)], &[]);
        let mut after = before.clone();
        after.subscribe(&asked);
        after.expire(0);
        let sent = notices(&before, &mut after, Trigger::User, Some(&asked), 0);
        assert_eq!(told(&sent, "registered"), one("s", "terminated;reason=timeout", 1));
    }

    /// What a REGISTER leaves: each binding's own name, its address, and when it ends.
    fn after(aor: &mut Aor, contacts: &str, expires: u64, (call_id, cseq): (&str, u32)) -> Vec<(String, String, u64)> {
        let asked = Registering {
            contacts: Contacts::read(contacts),
            path: String::new(),
            call_id: call_id.to_owned(),
            cseq,
            impi: String::new(),
            expires,
            most: 300,
        };
        aor.register(&asked, 0);
        aor.expire(0);
        aor.bindings.iter().map(|b| (b.id().into_owned(), b.uri.clone(), b.expires_at / 1000)).collect()
    }

    #[test]
    fn all_contacts_are_registered_and_a_phone_that_names_itself_has_one() {
        let mut aor = Aor::default();
        let of = |id: &str, uri: &str, at: u64| (id.to_owned(), uri.to_owned(), at);
        let phone = |uri: &str| format!("<{uri}>;+sip.instance=\"<urn:a>\"");
        let both = format!("<sip:z@1>;expires=20,{}", phone("sip:p@1"));
        let seen = after(&mut aor, &both, 900, ("c", 1));
        assert_eq!(seen, [of("<urn:a>", "sip:p@1", 300), of("sip:z@1", "sip:z@1", 20)]);
        // It comes back from another address; a REGISTER that was overtaken changes nothing.
        let seen = after(&mut aor, &phone("sip:p@2"), 200, ("c", 3));
        assert_eq!(seen, [of("<urn:a>", "sip:p@2", 200), of("sip:z@1", "sip:z@1", 20)]);
        assert_eq!(after(&mut aor, &phone("sip:p@3"), 100, ("c", 2)), seen);
        assert_eq!(after(&mut aor, "", 100, ("c", 4)), seen);
        assert_eq!(after(&mut aor, "<sip:z@1>", 0, ("d", 1)), [of("<urn:a>", "sip:p@2", 200)]);
        assert_eq!(after(&mut aor, "*", 0, ("d", 2)), []);
    }

    #[test]
    fn what_a_contact_says_of_itself_is_told() {
        let mut now = Aor { identities: vec!["sip:a@z".to_owned()], ..Aor::default() };
        after(&mut now, "<sip:p@1>;q=0.5;+sip.instance=\"<urn:a>\";audio", 60, ("c", 1));
        assert_eq!(now.bindings[0].told(1), "<sip:p@1>;q=0.5;expires=60;+sip.instance=\"<urn:a>\";audio");
        now.subscribe(&subscription("s", "sip:9", 60_000));
        let before = Aor { subscriptions: Vec::new(), ..now.clone() };
        let sent = notices(&before, &mut now, Trigger::User, None, 0);
        let wanted = "<contact id=\"&lt;urn:a&gt;\" state=\"active\" event=\"registered\"><uri>sip:p@1</uri>\
                      <unknown-param name=\"+sip.instance\">&quot;&lt;urn:a&gt;&quot;</unknown-param>\
                      <unknown-param name=\"audio\"></unknown-param></contact>";
        assert!(sent[0].body.contains(wanted), "{}", sent[0].body);
    }
}
