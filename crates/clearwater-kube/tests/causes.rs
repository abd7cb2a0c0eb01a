//! An error keeps what caused it, and says it in its own message once.

use std::error::Error;
use std::io;

use clearwater::component::Release;
use clearwater::config::DnsBackend;
use clearwater_kube::FailedAt;
use clearwater_kube::apply::ApplyError;
use clearwater_kube::autoscale::AutoscaleError;
use clearwater_kube::dns::{ClusterDnsError, DnsError};
use clearwater_kube::subscribers::SubscriberError;
use kube::core::Status;

fn refused() -> kube::Error {
    kube::Error::Api(Status::failure("not today", "Forbidden").with_code(403).boxed())
}

fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<E>().is_some() || error.source().is_some_and(has::<E>)
}

#[test]
fn an_error_of_the_api_is_kept_and_said_once() {
    let right = ClusterDnsError::Right {
        what: "configmap x".to_owned(),
        right: "get configmaps".to_owned(),
        source: refused().into(),
        instead: None,
    };
    let all: [Box<dyn Error>; 6] = [
        Box::new(DnsError::from(right)),
        Box::new(DnsError::from(ClusterDnsError::Unreachable(FailedAt::new("service x", refused())))),
        Box::new(SubscriberError::Unreachable(FailedAt::new("pods of ellis", refused()))),
        Box::new(ApplyError::Unreachable(FailedAt::new("service/x", refused()))),
        Box::new(AutoscaleError::Api(FailedAt::new("listing deployments", refused()))),
        Box::new(DnsError::Etcd { endpoint: "http://x".to_owned(), source: refused().into(), fix: "look".into() }),
    ];
    for error in &all {
        assert!(has::<kube::Error>(error.as_ref()), "{error}");
        let text = error.to_string();
        assert_eq!(text.matches(": not today").count(), 1, "{text}");
    }
}

#[test]
fn what_could_not_be_taken_back_leads_to_the_first_cause() {
    let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
    let seen = DnsError::Etcd { endpoint: "http://x".to_owned(), source: broken().into(), fix: "look".into() };
    let stuck = DnsError::Stuck {
        seen: "wrong answers".to_owned(),
        error: Box::new(seen),
        object: "the keys".to_owned(),
        fix: "put them back".into(),
    };
    let names = ApplyError::Names { source: stuck.into(), forbidden: false, instead: None };
    assert!(has::<DnsError>(&names) && has::<io::Error>(&names), "{names:?}");
    assert_eq!(names.to_string().matches(&broken().to_string()).count(), 1, "{names}");
}

#[test]
fn a_backend_keeps_why_it_cannot() {
    let why = "no release".parse::<Release>().unwrap_err();
    let text = why.to_string();
    let error = DnsError::Backend { backend: DnsBackend::Etcd, source: why.into(), instead: None };
    assert!(error.to_string().ends_with(&text), "{error}");
    assert_eq!(error.source().unwrap().to_string(), text);
}
