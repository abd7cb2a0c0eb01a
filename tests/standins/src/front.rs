//! nginx's stand-in: listens for a Python program and passes connections to its unix socket;
//! 502 while nobody is behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};

use crate::net::http;
use crate::place;

/// The socket of the first process of a fronted program.
pub(crate) fn socket(site: &str) -> PathBuf {
    place::path("/tmp").join(format!(".{site}-sock-0"))
}

/// Serves the site `homestead-prov`, `homer` or `ellis` on its port for ever.
pub(crate) async fn run(site: &str) -> Result<()> {
    let port = match site {
        "homestead-prov" => 8889,
        "homer" => 7888,
        "ellis" => 80,
        other => bail!("no site {other}; homestead-prov, homer or ellis"),
    };
    let listener = http::listen(SocketAddr::new(place::any_bind(), port)).await?;
    let behind = socket(site);
    loop {
        let (client, _) = listener.accept().await?;
        let _ = client.set_nodelay(true);
        let behind = behind.clone();
        tokio::spawn(async move {
            let _ = pass(client, &behind).await;
        });
    }
}

async fn pass(mut client: TcpStream, behind: &Path) -> Result<()> {
    // A client that only connects, as a probe does, is not passed on.
    let mut first = [0u8; 4096];
    let length = client.read(&mut first).await?;
    if length == 0 {
        return Ok(());
    }
    let Ok(mut program) = UnixStream::connect(behind).await else {
        return refuse(client, first[..length].starts_with(b"POST") || first[..length].starts_with(b"PUT")).await;
    };
    program.write_all(&first[..length]).await?;
    // A program that dies before it answers is a bad gateway too.
    let answered = program.read(&mut first).await.unwrap_or(0);
    if answered == 0 {
        return refuse(client, false).await;
    }
    client.write_all(&first[..answered]).await?;
    copy_bidirectional(&mut client, &mut program).await?;
    Ok(())
}

async fn refuse(mut client: TcpStream, drain: bool) -> Result<()> {
    let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body bgcolor=\"white\">\r\n\
                <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.4.6 (Ubuntu)</center>\r\n\
                </body>\r\n</html>\r\n";
    let answer = format!(
        "HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.4.6 (Ubuntu)\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    if drain {
        // Closing with unread bytes would reset the connection and lose the answer.
        let mut rest = [0u8; 1024];
        let all = async { while matches!(client.read(&mut rest).await, Ok(n) if n > 0) {} };
        let _ = tokio::time::timeout(Duration::from_millis(500), all).await;
    }
    Ok(())
}
