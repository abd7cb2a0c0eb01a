use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{AskError, Program, exec, refusal};

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelProtocol {
    /// A connection.
    Tcp,
    /// Datagrams, each whole.
    Udp,
    /// Datagrams, each whole, to somebody whose address is told later ([`Tunnel::aim`]): a phone knows where the other's
    /// media is wanted when the call is answered, and must say before where its own is.
    Aimed,
}

/// A way from this machine into a pod's own network, through a program in a container of it: for what listens on the
/// pod's own address alone, which a forwarded port does not reach, and for datagrams, which it does not carry.
///
/// What is sent to [`near`](Self::near) leaves from [`far`](Self::far), an address of the pod, and what comes back there
/// comes back here. The program ends with the connection, and half a minute after the last word from this side at the
/// latest: a process that was started by `exec` outlives a connection that is cut (kubernetes/kubernetes#89031).
#[derive(Debug)]
pub struct Tunnel {
    near: SocketAddr,
    far: SocketAddr,
    aim: Option<oneshot::Sender<SocketAddr>>,
    pump: AbortHandle,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// The first Python of the container runs the program. supervisord is one, so each of Clearwater's images has one.
const LAUNCH: &str = r#"for p in python3 python2 python python2.7; do command -v "$p" >/dev/null && exec "$p" -u -c "$@"; done; echo no-python; exit 127"#;

/// Speaks Python 2.7 and 3. Both ways a frame is its length, two bytes, and so many bytes. An empty one from outside says
/// that somebody is still there; of what is aimed later the first other one is the address and the port. The first line
/// that it prints is its own address and port, or "no:" and why not. Datagrams are taken from everybody, as a phone does: a proxy may send from another of its ports.
const PROGRAM: &str = r#"
import os, select, socket, struct, sys, time
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
try:
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((host, port))
    if kind != "tcp":
        mine = s.getsockname()
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.bind((mine[0], 0))
    s.settimeout(None)
except Exception as e:
    sys.stdout.write("no: %s\n" % e)
    sys.exit(1)
sys.stdout.write("%s %d\n" % s.getsockname()[:2])
sys.stdout.flush()
def out(d):
    d = struct.pack("!H", len(d)) + d
    while d:
        d = d[os.write(1, d):]
b = b""
aim = kind == "aimed"
heard = time.time()
while time.time() - heard < 30:
    for r in select.select([0, s], [], [], 5)[0]:
        if r is s:
            try:
                d = s.recv(60000)
            except socket.error:
                if kind == "tcp":
                    sys.exit(0)
                continue
            if not d and kind == "tcp":
                sys.exit(0)
            out(d)
            continue
        d = os.read(0, 65536)
        if not d:
            sys.exit(0)
        heard = time.time()
        b += d
        while len(b) >= 2 and len(b) >= 2 + struct.unpack("!H", b[:2])[0]:
            n = 2 + struct.unpack("!H", b[:2])[0]
            d, b = b[2:n], b[n:]
            try:
                if d and aim:
                    host, port = d.decode().split()
                    port, aim = int(port), False
                elif d:
                    s.sendall(d) if kind == "tcp" else s.sendto(d, (host, port))
            except socket.error:
                if kind == "tcp":
                    sys.exit(0)
"#;

/// What is said where there is none.
const NO_PYTHON: &str = "no-python";

/// How often this side says that it is still there.
const STILL_HERE: Duration = Duration::from_secs(10);

/// The longest frame: the program reads no more at once, and no datagram is longer.
const FRAME: usize = 60_000;

/// A line longer than this is not the tunnel's first.
const FIRST_LINE: u64 = 1024;

impl Tunnel {
    /// Opens a way to an address that the pod reaches, its own for example, within the deadline. What is aimed later
    /// leaves from that of the pod's addresses which leads there.
    ///
    /// # Errors
    /// Why there is none: a right, a container without what it takes, or a way that is broken.
    pub async fn open(
        pods: &Api<Pod>,
        pod: &str,
        container: &str,
        to: SocketAddr,
        protocol: TunnelProtocol,
        within: Duration,
    ) -> Result<Self, AskError> {
        let params = AttachParams::default().container(container).stdin(true).stdout(true).stderr(false);
        let (ip, port) = (to.ip().to_string(), to.port().to_string());
        let kind = match protocol {
            TunnelProtocol::Tcp => "tcp",
            TunnelProtocol::Udp => "udp",
            TunnelProtocol::Aimed => "aimed",
        };
        let command = ["bash", "-c", LAUNCH, "tunnel", PROGRAM, &ip, &port, kind];
        let Program { stdin, stdout, ended, connection } = exec(pods, pod, command, &params, within).await?;
        let opening = async {
            let mut stdout = BufReader::new(stdout);
            let mut first = String::new();
            let read = (&mut stdout).take(FIRST_LINE).read_line(&mut first).await;
            read.map_err(|e| AskError::broken(pod, e))?;
            let Some(far) = address(&first) else {
                if first.trim() == NO_PYTHON {
                    // Nobody was asked.
                    return Err(AskError::broken(pod, "it has no Python"));
                }
                return Err(match first.trim().strip_prefix("no: ").map(str::to_owned) {
                    Some(why) => AskError::NoWay { pod: pod.to_owned(), to, why },
                    None => refusal(pod, container, ended)
                        .await
                        .unwrap_or_else(|| AskError::broken(pod, format!("the tunnel began with {first:?}"))),
                });
            };
            Self::pump(connection, stdin, stdout, far, protocol).await.map_err(|e| AskError::broken(pod, e))
        };
        timeout(within, opening).await.unwrap_or_else(|_| Err(AskError::Deadline { pod: pod.to_owned(), within }))
    }

    /// Where this machine's programs send to: a socket at the loopback address. The first that connects is carried.
    pub fn near(&self) -> SocketAddr {
        self.near
    }

    /// Where that leaves the pod.
    pub fn far(&self) -> SocketAddr {
        self.far
    }

    /// Takes what says, once, whom the datagrams are for. Only what is aimed has it; until then they wait.
    pub fn aim(&mut self) -> Option<oneshot::Sender<SocketAddr>> {
        self.aim.take()
    }

    async fn pump(
        held: AttachedProcess,
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
        far: SocketAddr,
        protocol: TunnelProtocol,
    ) -> io::Result<Self> {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        if protocol == TunnelProtocol::Tcp {
            let listener = TcpListener::bind(loopback).await?;
            let near = listener.local_addr()?;
            let pump = tokio::spawn(async move { connection(listener, stdin, stdout, held).await }).abort_handle();
            return Ok(Self { near, far, aim: None, pump });
        }
        let socket = UdpSocket::bind(loopback).await?;
        let near = socket.local_addr()?;
        let (aim, aimed) = oneshot::channel();
        let (aim, aimed) = if protocol == TunnelProtocol::Aimed { (Some(aim), Some(aimed)) } else { (None, None) };
        let pump = tokio::spawn(async move { datagrams(socket, aimed, stdin, stdout, held).await }).abort_handle();
        Ok(Self { near, far, aim, pump })
    }
}

/// `IP PORT`, as the program says its own.
fn address(line: &str) -> Option<SocketAddr> {
    let (ip, port) = line.trim().split_once(' ')?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

/// Reads a frame.
async fn frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u16().await?;
    let mut frame = vec![0; usize::from(length)];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

/// Writes a frame.
async fn put(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u16::try_from(frame.len()).map_err(io::Error::other)?;
    let whole = [&length.to_be_bytes()[..], frame].concat();
    to.write_all(&whole).await?;
    to.flush().await
}

/// Carries one connection. Each direction is a loop of its own, so that what is half read is never dropped.
async fn connection(
    listener: TcpListener,
    mut stdin: impl AsyncWrite + Unpin,
    mut stdout: impl AsyncRead + Unpin,
    // The connection lasts as long as this is held.
    _process: AttachedProcess,
) -> io::Result<()> {
    let (stream, _) = listener.accept().await?;
    drop(listener);
    let (mut read, mut write) = stream.into_split();
    let inward = async {
        let mut bytes = vec![0; FRAME];
        loop {
            match timeout(STILL_HERE, read.read(&mut bytes)).await {
                Err(_) => put(&mut stdin, &[]).await?,
                Ok(Ok(0)) => return io::Result::Ok(()),
                Ok(Ok(n)) => put(&mut stdin, &bytes[..n]).await?,
                Ok(Err(error)) => return Err(error),
            }
        }
    };
    let outward = async {
        loop {
            write.write_all(&frame(&mut stdout).await?).await?;
        }
    };
    tokio::select! { ended = inward => ended, ended = outward => ended }
}

/// Carries datagrams between the far end and whoever sent to the near one last.
async fn datagrams(
    socket: UdpSocket,
    aimed: Option<oneshot::Receiver<SocketAddr>>,
    mut stdin: impl AsyncWrite + Unpin,
    mut stdout: impl AsyncRead + Unpin,
    // The connection lasts as long as this is held.
    _process: AttachedProcess,
) -> io::Result<()> {
    let phone = Mutex::new(None);
    let inward = async {
        let mut bytes = vec![0; FRAME];
        if let Some(mut aimed) = aimed {
            let peer = loop {
                match timeout(STILL_HERE, &mut aimed).await {
                    Err(_) => put(&mut stdin, &[]).await?,
                    Ok(peer) => break peer.map_err(io::Error::other)?,
                }
            };
            put(&mut stdin, format!("{} {}", peer.ip(), peer.port()).as_bytes()).await?;
        }
        loop {
            match timeout(STILL_HERE, socket.recv_from(&mut bytes)).await {
                Err(_) => put(&mut stdin, &[]).await?,
                Ok(received) => {
                    let (n, from) = received?;
                    *phone.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                    put(&mut stdin, &bytes[..n]).await?;
                }
            }
        }
    };
    let outward = async {
        loop {
            let datagram = frame(&mut stdout).await?;
            let to = *phone.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(to) = to {
                // A phone that went away is not the tunnel's to mind.
                let _ = socket.send_to(&datagram, to).await;
            }
        }
    };
    tokio::select! { ended = inward => ended, ended = outward => ended }
}
