use clap::Parser;

use super::super::kubeconfig::SAMPLE;
use super::*;
use crate::cli::Cli;
use crate::runtime;

#[test]
fn a_client_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, SAMPLE).unwrap();
    let connection = Connection { kubeconfig: Some(path), ..Connection::default() };
    let made = runtime::block_on(async { connection.client().await.map(|c| c.default_namespace().to_owned()) });
    assert_eq!(made.unwrap(), "ims");
}

#[test]
fn a_pods_own_cluster_is_not_taken_for_one_that_is_named_and_not_there() {
    let here = || Ok(Config::new("https://10.96.0.1".parse().unwrap()));
    assert_eq!(own_cluster(here(), None).unwrap().cluster_url.host(), Some("10.96.0.1"));
    let said = |found, list| own_cluster(found, list).map(|_| ()).unwrap_err().to_string();
    let named = said(here(), Some("/etc/a:/etc/b"));
    assert!(named.contains("(/etc/a:/etc/b) exists") && named.contains("unset KUBECONFIG"), "{named}");
    let nowhere = said(Err("no token".to_owned()), Some("/etc/a"));
    assert!(nowhere.contains("KUBECONFIG is \"/etc/a\"") && nowhere.contains("no token"), "{nowhere}");
    // Nor for what the flags name of a kubeconfig where there is none.
    let named = || Some("prod".to_owned());
    for (what, connection) in [
        ("context", Connection { context: named(), ..Connection::default() }),
        ("cluster", Connection { cluster: named(), ..Connection::default() }),
        ("user", Connection { user: named(), ..Connection::default() }),
    ] {
        let said = connection.has_named(&Kubeconfig::default()).unwrap_err().to_string();
        assert_eq!(said, format!("the kubeconfig has no {what} \"prod\"; it has: none"));
    }
}

/// Who was meant to ask is not made nobody, and of two tokens the file's counts.
#[test]
fn a_contexts_user_is_who_asks() {
    let config = |text: &str| {
        let kubeconfig: Kubeconfig = kube::config::Kubeconfig::from_yaml(text).unwrap();
        Connection::default().config_of(kubeconfig)
    };
    let missing = SAMPLE.replace("user: lab", "user: nope");
    assert_ne!(missing, SAMPLE);
    let said = config(&missing).map(drop).unwrap_err().to_string();
    assert!(said.contains("it has no user \"nope\", whom its context names"), "{said}");
    let both = SAMPLE.replace("token: of-lab", "token: of-lab, tokenFile: /run/token");
    assert_ne!(both, SAMPLE);
    let auth = config(&both).unwrap().config.auth_info;
    assert!(auth.token.is_none() && auth.token_file.as_deref() == Some("/run/token"));
}

#[test]
fn an_answer_that_does_not_come_names_the_server() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, SAMPLE).unwrap();
    let server = Some(format!("http://ann:secret@{closed}/api"));
    let connection = Connection { kubeconfig: Some(path), server, ..Connection::default() };
    let asked = runtime::block_on(async { Ok(connection.client().await?.apiserver_version().await.unwrap_err()) });
    let said = causes(&asked.unwrap());
    let server = format!("no answer from the API server at http://{closed} (is it up");
    assert!(said.contains(&server) && said.contains("refused") && !said.contains("secret"), "{said}");
}

/// A proxy that answers so to whoever asks for a way, or to which nobody gets.
fn proxy_that(answers: Option<&'static str>) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    if let Some(answer) = answers {
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
                let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
            }
        });
    }
    address
}

#[test]
fn a_proxy_that_makes_no_way_is_told_apart_from_the_server() {
    for (scheme, answers, words) in [
        ("http", None, "by which 192.0.2.1:6443 is to be reached, does not answer: correct its address in proxy-url"),
        ("socks5", None, "by which 192.0.2.1:6443 is to be reached, does not answer"),
        (
            "http",
            Some("HTTP/1.1 407 Who is there\r\n\r\n"),
            "does not take the name and password in proxy-url of the kubeconfig's cluster for the way to 192.0.2.1:6443 (407)",
        ),
        ("http", Some("HTTP/1.1 403 Forbidden\r\n\r\n"), "refuses the way to 192.0.2.1:6443"),
        ("http", Some("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "refuses the way to 192.0.2.1:6443"),
        ("http", Some("SSH-2.0-x\r\n"), "refuses the way to 192.0.2.1:6443"),
        ("http", Some(""), "made no way to 192.0.2.1:6443 (unexpected end of file)"),
    ] {
        let proxy = proxy_that(answers);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let own = format!("server: 'https://192.0.2.1:6443', proxy-url: '{scheme}://bob:s3cret@{proxy}'");
        std::fs::write(&path, SAMPLE.replace("server: 'https://192.0.2.1:6443'", &own)).unwrap();
        let connection = Connection { kubeconfig: Some(path), ..Connection::default() };
        let asked = runtime::block_on(async { Ok(connection.client().await?.apiserver_version().await.unwrap_err()) });
        let said = causes(&asked.unwrap());
        let named = format!("the proxy {scheme}://{proxy} (proxy-url of the kubeconfig's cluster)");
        assert!(said.contains(&named) && said.contains(words), "{answers:?}: {said}");
        assert!(said.contains("take proxy-url out of the kubeconfig's cluster"), "{said}");
        assert!(!said.contains("from the API server") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_proxy_that_was_told_nobody_wants_to_know_who_asks() {
    let proxy = proxy_that(Some("HTTP/1.1 407 Who is there\r\n\r\n"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let own = format!("server: 'https://192.0.2.1:6443', proxy-url: 'http://{proxy}'");
    std::fs::write(&path, SAMPLE.replace("server: 'https://192.0.2.1:6443'", &own)).unwrap();
    let connection = Connection { kubeconfig: Some(path), ..Connection::default() };
    let asked = runtime::block_on(async { Ok(connection.client().await?.apiserver_version().await.unwrap_err()) });
    let said = causes(&asked.unwrap());
    let words =
        format!("wants to know who asks for the way to 192.0.2.1:6443 (407): write http://NAME:PASSWORD@{proxy}");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn a_server_that_a_proxy_leads_to_is_named_with_it() {
    // It opens the way, and what is there speaks no TLS.
    let proxy = proxy_that(Some("HTTP/1.1 200 Go\r\n\r\n"));
    let server = Server {
        url: "https://192.0.2.1:6443".parse().unwrap(),
        proxy: proxy::proxy(&"https://192.0.2.1".parse().unwrap(), None, |name| {
            (name == "HTTPS_PROXY").then(|| format!("http://{proxy}"))
        })
        .unwrap(),
        places: Places::default(),
    };
    let mut config = Config::new(server.url.clone());
    config.proxy_url = server.proxy.as_ref().map(|proxy| proxy.url.clone());
    let asked =
        runtime::block_on(async { Ok(made(config, &Arc::new(server), None)?.apiserver_version().await.unwrap_err()) });
    let said = causes(&asked.unwrap());
    let words =
        format!("no answer from the API server at https://192.0.2.1:6443 by the proxy http://{proxy} (HTTPS_PROXY)");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn a_proxy_that_says_nothing_is_named_before_the_request_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let own = format!("server: 'https://192.0.2.1:6443', proxy-url: 'http://{}'", silent.local_addr().unwrap());
    std::fs::write(&path, SAMPLE.replace("server: 'https://192.0.2.1:6443'", &own)).unwrap();
    let request_timeout = Some(Duration::from_secs(2));
    let connection = Connection { kubeconfig: Some(path), request_timeout, ..Connection::default() };
    let asked = runtime::block_on(async {
        let (cluster, _) = connection.cluster_within("ims", Duration::from_secs(60)).await?;
        Ok(cluster.client.apiserver_version().await.unwrap_err())
    });
    let said = causes(&asked.unwrap());
    let named = format!("by the proxy http://{} (proxy-url of", silent.local_addr().unwrap());
    assert!(said.contains(&named), "{said}");
}

fn connect(flags: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, SAMPLE).unwrap();
    let line = format!("kubectl-clearwater version --kubeconfig {} {flags}", path.display());
    let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
    cli.connection.reach().map(|reach| reach.config).map_err(|e| e.to_string())
}

#[test]
fn the_context_says_how_to_connect() {
    let config = connect("").unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://192.0.2.1:6443/");
    assert_eq!(config.default_namespace, "ims");
    assert_eq!(config.auth_info.token.unwrap().expose_secret(), "of-lab");
    let config = connect("--context live").unwrap();
    assert_eq!(config.tls_server_name.as_deref(), Some("api"));
    let config = connect("--cluster live --user live -n other").unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://192.0.2.2:6443/");
    assert_eq!(config.auth_info.username.as_deref(), Some("u"));
    assert_eq!(config.default_namespace, "other");
}

#[test]
fn flags_win_over_the_context() {
    let dir = tempfile::tempdir().unwrap();
    let [ca, crt, key] = ["ca.crt", "c.crt", "c.key"].map(|name| dir.path().join(name).display().to_string());
    let leaf = include_str!("../../../tests/certificates/leaf.pem");
    std::fs::write(&crt, leaf).unwrap();
    std::fs::write(&key, include_str!("../../../tests/certificates/leaf.key")).unwrap();
    std::fs::write(&ca, include_str!("../../../tests/certificates/authority.pem")).unwrap();
    let config = connect(&format!(
        "-s 192.0.2.3 --token t --as jane --as-group a --as-group b --as-uid 7 --tls-server-name x \
         --insecure-skip-tls-verify --disable-compression --request-timeout 1m --certificate-authority {ca} \
         --client-certificate {crt} --client-key {key} --username u --password p",
    ))
    .unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://192.0.2.3/");
    assert_eq!(config.tls_server_name.as_deref(), Some("x"));
    assert!(config.accept_invalid_certs && config.disable_compression);
    assert_eq!(config.connect_timeout, Some(Duration::from_secs(60)));
    assert_eq!(config.root_cert.map(|all| all.len()), Some(1));
    let auth = config.auth_info;
    assert_eq!(auth.token.unwrap().expose_secret(), "t");
    assert_eq!(auth.impersonate.as_deref(), Some("jane"));
    assert_eq!(auth.impersonate_groups, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(auth.impersonate_uid.as_deref(), Some("7"));
    assert_eq!(auth.client_certificate_data, Some(base64(leaf.as_bytes())));
    assert!(auth.client_key_data.is_some() && auth.client_certificate.is_none() && auth.client_key.is_none());
    assert_eq!((auth.username.as_deref(), auth.password.unwrap().expose_secret()), (Some("u"), "p"));
}

#[test]
fn names_that_the_kubeconfig_does_not_have() {
    for (flags, said) in [
        ("--context x", "the kubeconfig has no context \"x\"; it has: lab, live"),
        ("--cluster x", "the kubeconfig has no cluster \"x\"; it has: lab, live"),
        ("--user x", "the kubeconfig has no user \"x\"; it has: lab, live"),
    ] {
        assert_eq!(connect(flags).unwrap_err(), said);
    }
    assert!(connect("--token t").is_ok());
    assert!(connect("--server https://[::1]:65535").is_ok() && connect("--server ann@[::1]").is_ok());
}

/// The command line's is named as that, and the kubeconfig's by the cluster that has it.
#[test]
fn what_is_no_servers_address_is_named_with_where_it_stands() {
    for (server, words) in [
        ("", "is empty: write https://HOST:PORT"),
        ("://", "is \"://\", which is no address of an API server ("),
        ("https://[::1]:65536/x", "(\"65536\" is no port, which is a number up to 65535): write https://HOST:PORT"),
        (
            "https://ann:s3cret@api:http",
            "is \"https://…@api:http\", which is no address of an API server (\"http\" is no port",
        ),
        ("ftp://api", "(ftp is neither https nor http): write https://HOST:PORT"),
    ] {
        let flag = Connection { server: Some(server.to_owned()), ..Connection::default() };
        let said = |connection: &Connection, text: &str| {
            connection.config_of(Kubeconfig::from_yaml(text).unwrap()).map(drop).unwrap_err().to_string()
        };
        let of_flag = said(&flag, SAMPLE);
        assert!(of_flag.starts_with("--server is ") && of_flag.contains(words), "{of_flag}");
        let text = SAMPLE.replace("https://192.0.2.1:6443", server);
        let own = said(&Connection::default(), &text);
        assert!(own.starts_with("server of the kubeconfig's cluster \"lab\" is ") && own.contains(words), "{own}");
        assert!(!own.contains("s3cret") && own.ends_with("there, or choose another --context"), "{own}");
        // One that is not asked does not matter.
        let other = Connection { server: Some("192.0.2.3".to_owned()), ..Connection::default() };
        assert!(other.config_of(Kubeconfig::from_yaml(&text).unwrap()).is_ok(), "{text}");
    }
}
