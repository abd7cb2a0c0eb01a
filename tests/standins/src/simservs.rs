//! A user's telephony services: the document that homer keeps, and what MMTEL makes of it at a call (sprout
//! `src/simservs.cpp`, `src/mmtel.cpp`). Barring and diversion alone: no identity is presented or hidden.

use roxmltree::{Document, Node};
use serde_json::{Value, json};

/// sprout's own country, in which a number that begins with its code is none of another's.
const COUNTRY: &str = "1";

/// Seconds that a called phone may ring where the document names no other time.
const NO_REPLY_S: u64 = 20;

/// What must hold for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Busy,
    NotRegistered,
    NoAnswer,
    NotReachable,
    Audio,
    Video,
    International,
    /// Roaming, and abroad but for the home country: never so.
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    /// Where diverted calls go.
    target: String,
    /// Whether calls are let through.
    allow: bool,
}

/// The services of one user. Those that are not active have no rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Services {
    diversion: Vec<Rule>,
    no_reply_s: u64,
    incoming: Vec<Rule>,
    outgoing: Vec<Rule>,
}

/// Which media a call offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) audio: bool,
    pub(crate) video: bool,
}

fn child<'a, 'i>(of: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    of.children().find(|n| n.tag_name().name() == name)
}

fn rule(node: Node<'_, '_>) -> Rule {
    let all = child(node, "conditions").into_iter().flat_map(|c| c.children().filter(Node::is_element));
    let conditions = all.filter_map(|c| match (c.tag_name().name(), c.text().unwrap_or_default()) {
        ("busy", _) => Some(Condition::Busy),
        ("not-registered", _) => Some(Condition::NotRegistered),
        ("no-answer", _) => Some(Condition::NoAnswer),
        ("not-reachable", _) => Some(Condition::NotReachable),
        ("media", "audio") => Some(Condition::Audio),
        ("media", "video") => Some(Condition::Video),
        ("international", _) => Some(Condition::International),
        ("roaming" | "international-exHC", _) => Some(Condition::Never),
        // What is not known is passed over.
        _ => None,
    });
    let actions = child(node, "actions");
    let text = |n: Node<'_, '_>| n.text().unwrap_or_default().to_owned();
    let target = actions.and_then(|a| child(child(a, "forward-to")?, "target")).map(text).unwrap_or_default();
    let allow = actions.and_then(|a| child(a, "allow")).is_some_and(|a| a.text() == Some("true"));
    Rule { conditions: conditions.collect(), target, allow }
}

impl Services {
    /// Reads a document; of one that cannot be read, no service is active.
    pub(crate) fn read(xml: &str) -> Self {
        let Ok(document) = Document::parse(xml) else { return Self::default() };
        let root = document.root_element();
        if root.tag_name().name() != "simservs" {
            return Self::default();
        }
        let active = |name: &str| child(root, name).filter(|s| s.attribute("active").is_none_or(|a| a == "true"));
        let rules = |name: &str| {
            let set = active(name).and_then(|s| child(s, "ruleset"));
            set.into_iter().flat_map(|s| s.children().filter(Node::is_element)).map(rule).collect()
        };
        let timer = active("communication-diversion").and_then(|s| child(s, "NoReplyTimer"));
        Self {
            diversion: rules("communication-diversion"),
            no_reply_s: timer.and_then(|t| t.text()?.trim().parse().ok()).unwrap_or(NO_REPLY_S),
            incoming: rules("incoming-communication-barring"),
            outgoing: rules("outgoing-communication-barring"),
        }
    }

    /// Where calls go in this case; empty where they do not.
    fn diverted(&self, case: Option<Condition>, offered: Offered) -> &str {
        let holds = |c: &Condition| {
            Some(*c) == case || *c == Condition::Audio && offered.audio || *c == Condition::Video && offered.video
        };
        let found = self.diversion.iter().find(|r| r.conditions.iter().all(holds));
        found.map_or("", |r| r.target.as_str())
    }

    /// For Kamailio: what becomes of a call to the user, whose number was dialled so.
    pub(crate) fn terminating(&self, dialled: &str, offered: Offered) -> Value {
        let to = |case: Condition| self.diverted(Some(case), offered);
        let always = self.diverted(None, offered);
        // The time begins with the ringing.
        let timer = if always.is_empty() && !to(Condition::NoAnswer).is_empty() { self.no_reply_s * 1000 } else { 0 };
        json!({
            "always": always,
            "busy": to(Condition::Busy),
            "off": to(Condition::NotRegistered),
            "silent": to(Condition::NoAnswer),
            "lost": to(Condition::NotReachable),
            "timer": timer,
            "barred": u8::from(barred(&self.incoming, dialled)),
        })
    }

    /// For Kamailio: what becomes of a call that the user makes, or diverts, to this number.
    pub(crate) fn originating(&self, dialled: &str) -> Value {
        json!({"barred": u8::from(barred(&self.outgoing, dialled))})
    }
}

/// One rule that lets a call through is enough; without a rule that matches it comes through (3GPP TS 24.611).
fn barred(rules: &[Rule], dialled: &str) -> bool {
    let holds = |c: &Condition| match c {
        Condition::International => is_international(dialled),
        Condition::Never => false,
        // Those of diversions are not looked at.
        _ => true,
    };
    let mut matching = rules.iter().filter(|r| r.conditions.iter().all(holds)).peekable();
    matching.peek().is_some() && !matching.any(|r| r.allow)
}

fn is_international(dialled: &str) -> bool {
    let rest = ["+", "00", "011"].into_iter().filter_map(|prefix| dialled.strip_prefix(prefix));
    let mut rest = rest.peekable();
    rest.peek().is_some() && rest.all(|number| !number.starts_with(COUNTRY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(inside: &str) -> Services {
        Services::read(&format!(
            "<simservs xmlns=\"http://uri.etsi.org/ngn/params/xml/simservs/xcap\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\">{inside}</simservs>"
        ))
    }

    fn diversion(rules: &[(&str, &str)]) -> Services {
        let rules: String = rules
            .iter()
            .map(|(conditions, target)| {
                format!(
                    "<cp:rule id=\"r\"><cp:conditions>{conditions}</cp:conditions><cp:actions><forward-to>\
                     <target>{target}</target></forward-to></cp:actions></cp:rule>"
                )
            })
            .collect();
        document(&format!(
            "<communication-diversion active=\"true\"><NoReplyTimer>7</NoReplyTimer><cp:ruleset>{rules}</cp:ruleset>\
             </communication-diversion>"
        ))
    }

    const AUDIO: Offered = Offered { audio: true, video: false };

    #[test]
    fn a_call_goes_where_the_first_rule_leads_whose_conditions_all_hold() {
        let all = diversion(&[
            ("<media>audio</media><media>video</media>", "sip:both@z"),
            ("<busy/>", "sip:busy@z"),
            ("<no-answer/>", "sip:silent@z"),
            ("<not-registered/>", "sip:off@z"),
            ("<not-reachable/>", "sip:lost@z"),
        ]);
        let seen = all.terminating("1", AUDIO);
        for (case, target) in [("always", ""), ("busy", "sip:busy@z"), ("silent", "sip:silent@z"), ("off", "sip:off@z")]
        {
            assert_eq!(seen[case], target, "{case}");
        }
        assert_eq!((&seen["lost"], &seen["timer"]), (&json!("sip:lost@z"), &json!(7000)));
        let video = Offered { audio: true, video: true };
        assert_eq!(all.terminating("1", video)["always"], "sip:both@z");
        // Without conditions, always; and then no phone rings whose answer could be awaited.
        let always = diversion(&[("", "sip:c@z")]);
        let seen = always.terminating("1", Offered::default());
        assert_eq!((&seen["always"], &seen["timer"]), (&json!("sip:c@z"), &json!(0)));
    }

    #[test]
    fn what_is_not_active_or_cannot_be_read_does_nothing() {
        let off = "<communication-diversion active=\"false\"><cp:ruleset><cp:rule id=\"r\"><cp:actions><forward-to>\
                   <target>sip:c@z</target></forward-to></cp:actions></cp:rule></cp:ruleset></communication-diversion>\
                   <incoming-communication-barring active=\"false\"><cp:ruleset><cp:rule id=\"r\"/></cp:ruleset>\
                   </incoming-communication-barring>";
        for services in [document(off), Services::read("<simservs"), Services::read("<other/>"), Services::default()] {
            let seen = services.terminating("1", AUDIO);
            assert_eq!((&seen["always"], &seen["busy"], &seen["barred"]), (&json!(""), &json!(""), &json!(0)));
        }
    }

    #[test]
    fn calls_are_barred_by_a_rule_that_matches_and_by_none_that_allows() {
        let bar = |rules: &str| {
            document(&format!(
                "<outgoing-communication-barring active=\"true\"><cp:ruleset>{rules}</cp:ruleset></outgoing-communication-barring>"
            ))
        };
        let deny = "<cp:rule id=\"d\"><cp:conditions/><cp:actions><allow>false</allow></cp:actions></cp:rule>";
        let allow = "<cp:rule id=\"a\"><cp:conditions/><cp:actions><allow>true</allow></cp:actions></cp:rule>";
        let abroad = "<cp:rule id=\"i\"><cp:conditions><international/></cp:conditions><cp:actions><allow>false</allow>\
                      </cp:actions></cp:rule>";
        let roaming = "<cp:rule id=\"r\"><cp:conditions><roaming/></cp:conditions></cp:rule>";
        let is = |rules: &str, dialled: &str| bar(rules).originating(dialled)["barred"] == 1;
        assert!(is(deny, "6505550001") && !is(&format!("{deny}{allow}"), "6505550001"));
        assert!(!is("", "6505550001") && !is(roaming, "6505550001"));
        for (dialled, wanted) in [
            ("011447854481549", true),
            ("+447854481549", true),
            ("00447854481549", true),
            ("6505550001", false),
            ("+16505550001", false),
            ("01116505550001", false),
            ("0016505550001", false),
            ("", false),
        ] {
            assert_eq!(is(abroad, dialled), wanted, "{dialled}");
        }
    }
}
