//! Requests of which no answer comes, or only a part of one.

use std::convert::Infallible;
use std::pin::pin;

use futures::{AsyncBufReadExt as _, AsyncReadExt as _, FutureExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, LogParams, WatchParams};
use kube::{Api, Error};
use tokio::time::sleep;

use super::*;
use crate::cluster::say;

const TIME: Duration = Duration::from_secs(30);

/// A server that answers a list whole, lets a byte of anything else drop each second, and never answers for `hangs`.
fn server() -> Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        if request.uri().path().contains("hangs") {
            std::future::pending::<()>().await;
        }
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" "))), ()))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(drops)))
    });
    within(Client::new(service, "ims"), &RequestPolicy::new(TIME))
}

#[tokio::test(start_paused = true)]
async fn who_hangs_or_drips_is_given_up_in_time() {
    let maps: Api<ConfigMap> = Api::default_namespaced(server());
    for name in ["hangs", "drips"] {
        sleep(MUTE).await;
        let began = Instant::now();
        let error = maps.get(name).await.unwrap_err();
        assert!(say(&error).contains("no answer from the API server within 30 s"), "{name}: {}", say(&error));
        assert!(crate::cluster::is_passing(&error), "{name}");
        assert_eq!(began.elapsed(), TIME, "{name}");
    }
    assert!(matches!(maps.list(&ListParams::default()).await, Err(Error::Service(_))));
}

/// However many there are of them.
#[tokio::test(start_paused = true)]
async fn requests_one_after_the_other_are_over_by_then() {
    let until = Instant::now() + Duration::from_secs(47);
    let policy = RequestPolicy::new(TIME).before(until).before(until + TIME);
    let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(say(&maps.get("hangs").await.unwrap_err()));
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(Instant::now(), until + Duration::from_secs(4));
    assert!(said[0].contains("within 30 s") && said[1].contains("within 15 s"), "{said:?}");
    assert!(said[2].contains("the time was up before there could be an answer"), "{said:?}");
    assert_eq!(policy.timeout(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_is_quoted() {
    let service = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::builder().status(429).header("Retry-After", "7").body(Body::empty()).unwrap())
    });
    let client = within(Client::new(service, "ims"), &RequestPolicy::new(TIME));
    let began = Instant::now();
    let error = Api::<ConfigMap>::default_namespaced(client).get("x").await.unwrap_err();
    assert!(say(&error).contains("within 30 s: it said 429 Too Many Requests"), "{}", say(&error));
    assert_eq!(began.elapsed(), TIME);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_word() {
    for name in ["hangs", "drips"] {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (hears, began) = (told.clone(), Instant::now());
        let policy = RequestPolicy::new(TIME)
            .telling(move |what| hears.lock().unwrap().push((what.to_owned(), began.elapsed().as_secs())));
        let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
        maps.get(name).await.unwrap_err();
        let what = format!("the API server: GET /api/v1/namespaces/ims/configmaps/{name}");
        assert_eq!(*told.lock().unwrap(), [5, 15, 25].map(|at| (what.clone(), at)), "{name}");
    }
}

/// Of what is asked at once one thing is told, and what is told is not told again for each of them.
#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_one_word_for_all() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (hears, began) = (told.clone(), Instant::now());
    let policy = RequestPolicy::new(TIME).telling(move |_| hears.lock().unwrap().push(began.elapsed().as_secs()));
    let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
    let asked = (0..10).map(|n| {
        let maps = maps.clone();
        async move {
            sleep(Duration::from_millis(n * 300)).await;
            maps.get(&format!("hangs-{n}")).await
        }
    });
    assert!(futures::future::join_all(asked).await.iter().all(Result::is_err));
    assert_eq!(*told.lock().unwrap(), [5, 15, 25]);
}

/// However short each of them is.
#[tokio::test(start_paused = true)]
async fn the_silence_of_several_tries_is_one_silence() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (hears, began) = (told.clone(), Instant::now());
    let policy = RequestPolicy::new(Duration::from_secs(2))
        .telling(move |_| hears.lock().unwrap().push(began.elapsed().as_secs()));
    let maps: Api<ConfigMap> = Api::default_namespaced(within(server(), &policy));
    for _ in 0..7 {
        maps.get("hangs").await.unwrap_err();
        sleep(MUTE).await;
    }
    assert_eq!(*told.lock().unwrap(), [5, 15]);
    // What was asked long ago is not waited for.
    sleep(AGAIN).await;
    maps.get("hangs").await.unwrap_err();
    assert_eq!(told.lock().unwrap().len(), 2);
    // Neither is what was answered.
    for good in [true, true, true, false, true] {
        policy.tried("etcd", sleep(Duration::from_secs(4)), |()| good).await;
        assert_eq!(told.lock().unwrap().len(), 2, "{good}");
        if !good {
            told.lock().unwrap().pop();
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_told_and_not_asked_for_again() {
    let service = |body: &'static str| {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            Ok::<_, Infallible>(Response::new(Body::from(body.as_bytes().to_vec())))
        });
        Api::<ConfigMap>::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)))
    };
    for (body, words) in [
        ("{}", "no object of Kubernetes"),
        (r#"{"metadata":{"name":"x"}}"#, "no object of Kubernetes"),
        (r#"{"kind":""}"#, "no object of Kubernetes"),
        (r#"{"kind":"Status","status":"Success"}"#, "the Status \"\" and not configmaps/x"),
        (r#"{"kind":"ConfigMap","metadata":{"name":"y"}}"#, "the ConfigMap \"y\" and not configmaps/x"),
    ] {
        let error = service(body).get("x").await.unwrap_err();
        assert!(say(&error).contains(words), "{body}: {}", say(&error));
        assert!(!crate::cluster::is_passing(&error), "{body}");
    }
    let one = service(r#"{"kind":"ConfigMap","metadata":{"name":"x"}}"#).list(&ListParams::default()).await;
    assert!(say(&one.unwrap_err()).contains("a ConfigMap and no list of configmaps"));
    assert!(service(r#"{"kind":"ConfigMap","metadata":{"name":"x"}}"#).get("x").await.is_ok());
    let page = service("<html>").get("x").await.unwrap_err();
    assert!(say(&page).contains("a page for a browser: is this the API server?"), "{}", say(&page));
}

#[tokio::test(start_paused = true)]
async fn a_watch_may_last() {
    let maps: Api<ConfigMap> = Api::default_namespaced(server());
    let watching = maps.watch(&WatchParams::default(), "1").await;
    assert!(watching.is_ok());
    let asked = |uri: &str| is_stream(&Request::get(uri).body(Body::empty()).unwrap());
    assert!(asked("/api/v1/pods?x=1&watch=true") && asked("/log?follow=true"));
    assert!(!asked("/api/v1/pods?labelSelector=watch%3Dtrue") && !asked("/api/v1/pods"));
}

#[tokio::test]
async fn an_event_without_end_ends_the_watch() {
    let watch = |line: &'static str, times: usize| async move {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let pieces = stream::iter((0..times).map(move |_| Ok::<_, Infallible>(Frame::data(Bytes::from(line)))));
            Ok::<_, Infallible>(Response::new(StreamBody::new(pieces)))
        });
        let client = within(Client::new(service, "ims"), &RequestPolicy::new(Duration::from_secs(5)));
        let request = http::Request::get("/api/v1/pods?watch=true").body(Vec::new()).unwrap();
        let response = client.send(request.map(Body::from)).await.unwrap();
        response.into_body().collect().await.map(|all| all.to_bytes().len()).map_err(|e| crate::cluster::say(&e))
    };
    let long: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let event: &'static str = Box::leak(format!("{long}\n").into_boxed_str());
    assert_eq!(watch(event, 20).await, Ok(20 * (long.len() + 1)));
    let told = watch(long, 20).await.unwrap_err();
    assert!(told.contains("an event of more than"), "{told}");
}

/// A server whose logs are `pieces` of so many bytes, one after each pause.
fn logs(pieces: usize, bytes: usize, pause: Duration) -> Api<Pod> {
    let service = tower::service_fn(move |_: Request<Body>| async move {
        let pieces = stream::unfold(0, move |n| async move {
            tokio::time::sleep(pause).await;
            (n < pieces).then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; bytes]))), n + 1))
        });
        Ok::<_, Infallible>(Response::new(StreamBody::new(pieces)))
    });
    Api::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)))
}

/// How much came of a log, and whether it came to its end; `rest` is how long is paused after each piece.
async fn read(logs: Api<Pod>, rest: Duration) -> (usize, Result<(), String>) {
    let mut log = pin!(logs.log_stream("bono-0", &LogParams::default()).await.unwrap());
    let (mut all, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        match log.read(&mut piece).await {
            Ok(0) => return (all, Ok(())),
            Ok(n) => all += n,
            Err(error) => return (all, Err(error.to_string())),
        }
        if !rest.is_zero() {
            let _ = log.fill_buf().now_or_never();
            tokio::time::sleep(rest).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_may_be_of_any_length_and_take_any_time_while_it_comes() {
    let (piece, long) = (1 << 20, Duration::from_secs(20));
    let began = Instant::now();
    let (all, end) = read(logs(100, piece, long), Duration::ZERO).await;
    assert_eq!((all, end), (100 * piece, Ok(())));
    assert!(all > LONGEST && began.elapsed() > 60 * TIME);
    // Who pauses between reads loses nothing by it, however small the pieces are.
    let (all, end) = read(logs(20, 10, Duration::from_millis(1)), 2 * TIME).await;
    assert_eq!((all, end), (200, Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_hangs_or_drips_is_given_up() {
    let late = "no answer from the API server within 30 s";
    let began = Instant::now();
    let (all, end) = read(logs(9, 10, 3 * TIME), Duration::ZERO).await;
    assert!(all == 0 && end.unwrap_err().contains(late));
    assert_eq!(began.elapsed(), TIME);
    let (all, end) = read(logs(usize::MAX, 10, Duration::from_secs(1)), Duration::ZERO).await;
    assert!(end.unwrap_err().contains(late));
    assert!((290..=310).contains(&all), "{all}");
}

#[test]
fn a_log_is_known_by_its_path() {
    let asked = |uri: &str| is_log(&Request::get(uri).body(Body::empty()).unwrap());
    assert!(asked("/api/v1/namespaces/ims/pods/bono-0/log?container=bono"));
    assert!(!asked("/api/v1/namespaces/ims/pods/log") && !asked("/api/v1/namespaces/log/configmaps/log"));
}

/// Who never answered is waited for once by what asks one thing after the other, and asked again by who tries for longer.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answered_is_waited_for_once() {
    let maps: Api<ConfigMap> = Api::default_namespaced(server());
    let began = Instant::now();
    for _ in 0..3 {
        let error = maps.get("hangs").await.unwrap_err();
        assert!(say(&error).contains("no answer from the API server within 30 s"), "{}", say(&error));
        assert!(crate::cluster::is_passing(&error));
    }
    assert_eq!(began.elapsed(), TIME);
    sleep(MUTE).await;
    maps.get("hangs").await.unwrap_err();
    assert_eq!(began.elapsed(), TIME * 2 + MUTE);
    // One that asks for patience, and one that cannot be reached, are not there either.
    for (named, reached) in [("it said 429 Too Many Requests", true), ("no way to it", false)] {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            if reached {
                return Ok(Response::builder().status(429).header("Retry-After", "7").body(Body::empty()).unwrap());
            }
            sleep(TIME * 2 / 3).await;
            Err(BoxError::from("no way to it"))
        });
        let maps: Api<ConfigMap> =
            Api::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)));
        let began = Instant::now();
        for _ in 0..3 {
            let error = maps.get("x").await.unwrap_err();
            assert!(say(&error).contains(named) && crate::cluster::is_passing(&error), "{}", say(&error));
        }
        assert_eq!(began.elapsed(), if reached { TIME } else { TIME * 2 / 3 }, "{named}");
    }
    // One that has answered is there: that one thing hangs says nothing of the others.
    let service = tower::service_fn(|request: Request<Body>| async move {
        if request.uri().path().contains("hangs") {
            std::future::pending::<()>().await;
        }
        let map = r#"{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "stands"}}"#;
        Ok::<_, Infallible>(Response::new(Body::from(map.as_bytes().to_vec())))
    });
    let maps: Api<ConfigMap> = Api::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)));
    maps.get("stands").await.unwrap();
    maps.get("hangs").await.unwrap_err();
    maps.get("stands").await.unwrap();
}

/// What it answered before is no answer now.
#[tokio::test(start_paused = true)]
async fn a_server_that_dies_is_waited_for_once() {
    let answers = Arc::new(AtomicU16::new(1));
    let own = answers.clone();
    let service = tower::service_fn(move |_: Request<Body>| {
        let is_there = own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        async move {
            if !is_there {
                std::future::pending::<()>().await;
            }
            let map = r#"{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "stands"}}"#;
            Ok::<_, Infallible>(Response::new(Body::from(map.as_bytes().to_vec())))
        }
    });
    let maps: Api<ConfigMap> = Api::default_namespaced(within(Client::new(service, "ims"), &RequestPolicy::new(TIME)));
    maps.get("stands").await.unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        let error = maps.get("stands").await.unwrap_err();
        assert!(say(&error).contains("no answer from the API server within 30 s"), "{}", say(&error));
    }
    assert_eq!(began.elapsed(), TIME);
    // And it may come back.
    answers.store(9, Ordering::Relaxed);
    sleep(MUTE).await;
    maps.get("stands").await.unwrap();
}
