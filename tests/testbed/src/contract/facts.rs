//! What the real programs did when upstream's last commits were built and run, fact by fact, and where each is kept.

use clearwater_kube::contract::Known;

/// In words, before the source.
pub(super) fn words(known: Known) -> &'static str {
    match known {
        Known::Seen => "seen on the real program; ",
        Known::Read => "read; ",
    }
}

/// What holds the product and its stand-ins to a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A claim that a deployment answers: one of [`super::healthy`] or [`super::alone`].
    Deployment,
    /// A claim that files answer: one of [`super::files`].
    Files,
    /// A test, as `path::name`, from the repository's root.
    Test(&'static str),
    /// No claim; why.
    Not(&'static str),
}

/// A fact about the real programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its name, which claims carry.
    pub id: &'static str,
    /// What is so.
    pub words: &'static str,
    /// How it is known.
    pub known: Known,
    /// What keeps it.
    pub kept: Kept,
}

const fn seen(id: &'static str, words: &'static str, kept: Kept) -> Fact {
    Fact { id, words, known: Known::Seen, kept }
}

const fn read(id: &'static str, words: &'static str, kept: Kept) -> Fact {
    Fact { id, words, known: Known::Read, kept }
}

/// It takes a homestead or store that answers wrongly, which would harm a deployment.
const CODES: Kept = Kept::Test("tests/standins/tests/sip.rs::the_codes_are_those_of_the_real_ones");
const LEAVES: Kept = Kept::Not("members would have to leave or die, which costs the deployment data");

/// Every fact.
pub const FACTS: &[Fact] = &[
    seen(
        "log-threads",
        "C++ daemons from late 2017 on name the thread behind UTC; older ones do not",
        Kept::Deployment,
    ),
    seen(
        "log-levels",
        "every line of a daemon has its level, those of libraries too, which have no place",
        Kept::Files,
    ),
    seen("log-times", "every line that begins with a time is read with that time", Kept::Files),
    seen("log-python", "Python daemons write level, file, line and, some of them, the thread", Kept::Deployment),
    seen(
        "log-tracebacks",
        "a traceback follows its line without heads of its own",
        Kept::Test("crates/clearwater/src/log/assemble.rs::a_traceback_stays_with_its_line"),
    ),
    seen(
        "log-access",
        "homestead, ralf and sprout keep an access log with a link to the current one",
        Kept::Deployment,
    ),
    seen("log-cut", "a log call ends at 8192 bytes, and a note behind it counts what is missing", Kept::Files),
    seen(
        "log-sproutlets",
        "what sprout's functions hand to each other is in its log alone",
        Kept::Test("crates/clearwater/src/log/ladder/tests.rs::what_sprout_hands_to_itself_is_an_arrow_to_itself"),
    ),
    seen("log-messages", "from level 4 on each SIP message stands between its two marks", Kept::Files),
    seen("level-bono", "bono takes its level from user_settings alone, 2 where there is none", Kept::Deployment),
    seen("level-shared", "sprout, homestead and ralf take their level from shared_config", Kept::Deployment),
    seen(
        "level-chronos",
        "chronos takes its level from chronos.conf alone",
        Kept::Not("it does not log the level that it took, and nothing else shows it from outside"),
    ),
    seen(
        "chronos-name-servers",
        "chronos cannot read several name servers, and no callback resolves then",
        Kept::Not("a deployment has the name servers of its cluster; preflight warns of several"),
    ),
    seen("generator-order", "ralf_session_store stands before homestead_impu_store in shared_config", Kept::Deployment),
    seen("generator", "the generator writes what the model of it writes, for 25 environments", Kept::Files),
    seen("join-pause", "a member that joins pauses for others before anything is changed", Kept::Deployment),
    seen("join-staggered", "each later arrival makes those that wait pause once more", LEAVES),
    seen("leave", "a leave takes one pause; what SIGQUIT does depends on the member's state", LEAVES),
    seen("mark-several", "several dead members end when all are marked at once, and hang one by one", LEAVES),
    seen("mark-unlisted", "to mark an address that is not listed is no work and no fault", Kept::Deployment),
    seen("members", "a map of members means the same state to the manager and to the model of it", Kept::Files),
    seen("route-name", "sprout serves a Route with its name, which is what bono puts there", Kept::Deployment),
    seen(
        "names-missing",
        "with bono's upstream in DNS and not the S-CSCF that it names, REGISTER gets 200 and calls 408",
        Kept::Test("tests/standins/tests/sip.rs::without_an_upstream_bono_answers_408_at_once"),
    ),
    seen(
        "upstream-missing",
        "bono without its upstream's name answers 408 and logs an error each second",
        Kept::Deployment,
    ),
    seen("register-unknown", "a REGISTER of an unknown user gets 403", Kept::Deployment),
    seen("register-no-homestead", "a REGISTER gets 403 where homestead's name does not resolve", Kept::Deployment),
    seen("register-answers", "other answers of homestead, the store and the timer to a REGISTER", CODES),
    seen("invite-unknown", "an INVITE to an unknown number gets 404 from the I-CSCF", Kept::Deployment),
    seen("invite-answers", "other answers of homestead to an INVITE", CODES),
    read("cancel-stray", "a CANCEL whose transaction is not there gets 481", Kept::Deployment),
    read("flow-stranger", "whoever did not register over the same flow may not send: 403", Kept::Deployment),
    read("flow-failed", "bono answers 430 to a request for a flow that it does not have", Kept::Deployment),
    read(
        "register-emergency",
        "bono refuses an emergency registration itself where it is not told to allow these: 503",
        Kept::Deployment,
    ),
    read(
        "options-user",
        "OPTIONS are answered by the node that they name, and those for a user of the home domain by nobody but him",
        Kept::Deployment,
    ),
    read("nonce-once", "every REGISTER is challenged, and the answer to a challenge counts once", Kept::Deployment),
    read("contacts", "a REGISTER may have several Contacts, which are kept with what they say", Kept::Deployment),
    read(
        "cancel-number",
        "who may call himself by a tel: URI of his set may give up a call that he made so",
        Kept::Test("tests/standins/tests/phones.rs::who_calls_by_a_number_of_his_own_may_give_the_call_up"),
    ),
    read("register-trusted", "bono takes no REGISTER from within the trust domain: 405", Kept::Deployment),
    read(
        "flow-dialog",
        "within a call requests go over the flow, wherever they are addressed to",
        Kept::Test(
            "tests/standins/tests/sip.rs::within_a_call_requests_go_over_the_flow_wherever_they_are_addressed_to",
        ),
    ),
    read(
        "asserted",
        "bono asserts the flow's identity, or the preferred one that its registration covers",
        Kept::Test("tests/standins/tests/sip.rs::who_may_send_is_told_by_the_flow_and_asserted_by_bono"),
    ),
    read("tel-without-enum", "without ENUM a tel: URI that the HSS does not know gets 404", Kept::Deployment),
    read("quoted-parameter", "a URI whose parameter is quoted is read", Kept::Deployment),
    read(
        "identity-set",
        "an implicit registration set is registered together",
        Kept::Test(
            "tests/standins/tests/sip.rs::a_set_of_identities_registers_together_and_numbers_are_none_without_enum",
        ),
    ),
    read("mmtel-outgoing", "a call of a line whose outgoing calls are barred gets 603 from MMTEL", Kept::Deployment),
    read("mmtel-incoming", "a call to a line whose incoming calls are barred gets 603 from MMTEL", Kept::Deployment),
    read("mmtel-diversion", "a call that MMTEL diverts is answered 181, and goes on", Kept::Deployment),
    read(
        "mmtel-reasons",
        "MMTEL diverts by what the called phone answers, and by how long it rings",
        Kept::Test("tests/standins/tests/services.rs::a_call_is_diverted_always_or_when_the_phone_is_busy_off_or_lost"),
    ),
    read("reg-event", "a subscription to a registration is answered, and its full state told", Kept::Deployment),
    read("reg-event-unknown", "a subscription to the registration of nobody gets 403", Kept::Deployment),
    read(
        "reg-event-changes",
        "who has subscribed is told of each change of the registration, and of its end",
        Kept::Test("tests/standins/tests/services.rs::who_subscribes_to_a_registration_is_told_of_it_until_it_ends"),
    ),
    read(
        "timer-f",
        "a hop that is silent costs the 32 s of timer F, and ends in 408",
        Kept::Test("tests/standins/tests/sip.rs::an_upstream_that_is_silent_costs_the_whole_of_timer_f"),
    ),
    seen(
        "dns-memory",
        "a failed look-up is remembered for 30 s, and chronos asks for 200 ms",
        Kept::Test("tests/standins/src/net/dns.rs::a_failed_question_is_not_asked_again_for_half_a_minute"),
    ),
    seen(
        "dns-words",
        "bono's log tells a name that is missing from name servers that fail",
        Kept::Test("tests/standins/tests/logs.rs::bono_tells_why_a_name_was_not_found"),
    ),
    seen(
        "dns-negative",
        "that a name is missing is remembered for the time of the SOA record",
        Kept::Test("tests/standins/src/net/dns.rs::that_a_name_is_missing_is_kept_for_the_soa_records_own_time"),
    ),
    seen(
        "rogers",
        "rogers does not speak memcached's text protocol, and ends without its settings (with 3, which the init script hides)",
        Kept::Deployment,
    ),
    seen(
        "homestead-no-cassandra",
        "homestead says that Cassandra's name failed with 5, and ends (with 2, which the init script hides)",
        Kept::Deployment,
    ),
    seen(
        "homestead-no-hss",
        "homestead that is told of an HSS answers 503 while there is none",
        Kept::Test("tests/standins/tests/subscribers.rs::homestead_starts_only_with_store_name_and_keyspace"),
    ),
    read("ellis-code", "Ellis refuses an account with a wrong sign-up code with 403", Kept::Deployment),
    read(
        "ellis-field",
        "Ellis refuses an account with a missing field with 400, before it looks at the code",
        Kept::Deployment,
    ),
    read(
        "ellis-500",
        "the phrase of Ellis' 500 is \"Internal Server Error\"",
        Kept::Not("nothing that may be asked of a deployment makes Ellis fail so"),
    ),
];

/// The fact of that name.
pub(super) fn fact(id: &str) -> Option<&'static Fact> {
    FACTS.iter().find(|fact| fact.id == id)
}
