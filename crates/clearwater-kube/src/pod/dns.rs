//! Questions put to DNS servers: over a forwarded port to one pod of the cluster's DNS, and by UDP out of a pod of the
//! deployment, as its programs ask.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clearwater::dns::answer::Answer;
use clearwater::dns::{Name, RecordData, RecordType, Zone};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{DNSClass, RData, RecordType as WireType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tower::BoxError;

use super::{AskError, Duplex, OPEN, Script, Shell, forward};
use crate::backoff::{Backoff, doubling};
use crate::cluster::FailedAt;

/// The pauses between two rounds of questions.
pub(crate) fn pauses() -> impl Backoff {
    doubling(Duration::from_millis(200), Duration::from_secs(1))
}

/// The longest that one answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A question as it goes over the wire, without the length that TCP puts before it (RFC 1035 §4).
fn question(id: u16, name: &Name, record_type: RecordType) -> Result<Vec<u8>, String> {
    let wire = |e: &dyn std::fmt::Display| format!("{name} cannot be asked for: {e}");
    let owner = format!("{name}.").parse().map_err(|e: hickory_proto::ProtoError| wire(&e))?;
    let kind = match record_type {
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Cname => WireType::CNAME,
        RecordType::Srv => WireType::SRV,
        RecordType::Naptr => WireType::NAPTR,
    };
    let mut query = Query::query(owner, kind);
    query.set_query_class(DNSClass::IN);
    let mut message = Message::query();
    message.metadata.id = id;
    message.metadata.recursion_desired = true;
    message.add_query(query);
    message.to_bytes().map_err(|e| wire(&e))
}

/// The answer to question `id`.
fn read_answer(id: u16, bytes: &[u8]) -> Result<Answer, BoxError> {
    let message = Message::from_bytes(bytes).map_err(|e| FailedAt::new("what came is no DNS message", e))?;
    if message.metadata.id != id {
        return Err(format!("an answer to question {} came to question {id}", message.metadata.id).into());
    }
    let mut records = Zone::new();
    for record in &message.answers {
        let Some(data) = data(&record.data) else { continue };
        if let Ok(name) = record.name.to_ascii().parse() {
            records.insert(name, record.ttl, data);
        }
    }
    let negative_ttl = message.authorities.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(soa.minimum.min(r.ttl)),
        _ => None,
    });
    Ok(Answer { code: u16::from(message.metadata.response_code).into(), records, negative_ttl })
}

fn data(data: &RData) -> Option<RecordData> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match data {
        RData::A(ip) => RecordData::A(ip.0),
        RData::AAAA(ip) => RecordData::Aaaa(ip.0),
        RData::CNAME(name) => RecordData::Cname(name.0.to_ascii().parse().ok()?),
        RData::SRV(srv) => RecordData::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii().parse().ok()?,
        },
        RData::NAPTR(naptr) => RecordData::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: naptr.replacement.to_ascii().parse().ok()?,
        },
        _ => return None,
    })
}

/// One question over a stream, with its length before it (RFC 1035 §4.2.2).
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id: u16,
    name: &Name,
    record_type: RecordType,
) -> Result<Answer, BoxError> {
    let question = question(id, name, record_type)?;
    let broken = |e: std::io::Error| FailedAt::new("the connection broke", e);
    let length = u16::try_from(question.len())?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let length = stream.read_u16().await.map_err(broken)?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    read_answer(id, &bytes)
}

/// One pod of the cluster's DNS, asked over TCP through a forwarded port. The connection is kept, and opened anew where
/// the server closed it.
pub(crate) struct Server {
    pods: Api<Pod>,
    pod: String,
    port: u16,
    asked: u16,
    open: Option<(Portforwarder, Box<dyn Duplex>)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((forwarder, _)) = &self.open {
            forwarder.abort();
        }
    }
}

impl Server {
    pub(crate) fn new(pods: Api<Pod>, pod: &str, port: u16) -> Self {
        Self { pods, pod: pod.to_owned(), port, asked: 0, open: None }
    }

    /// The port that is asked.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks one question. A connection that was open before and broke is no failure of the server: it is opened again,
    /// once.
    pub(crate) async fn ask(&mut self, name: &Name, record_type: RecordType) -> Result<Answer, AskError> {
        let kept = self.open.is_some();
        match self.attempt(name, record_type).await {
            Err(AskError::Broken { .. }) if kept => self.attempt(name, record_type).await,
            other => other,
        }
    }

    async fn attempt(&mut self, name: &Name, record_type: RecordType) -> Result<Answer, AskError> {
        self.asked = self.asked.wrapping_add(1);
        let (mut forwarder, mut stream) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let answer = timeout(ANSWER, exchange(&mut stream, self.asked, name, record_type)).await;
        match answer {
            Ok(Ok(answer)) => {
                self.open = Some((forwarder, stream));
                Ok(answer)
            }
            Ok(Err(own)) => {
                let error = AskError::at_end(&self.pod, self.port, &mut forwarder, own).await;
                forwarder.abort();
                Err(error)
            }
            Err(_) => {
                forwarder.abort();
                Err(AskError::Deadline { pod: self.pod.clone(), within: ANSWER })
            }
        }
    }

    async fn connect(&mut self) -> Result<(Portforwarder, Box<dyn Duplex>), AskError> {
        forward(&self.pods, &self.pod, self.port, OPEN).await
    }
}

/// Sends a question by UDP and prints the answer as hexadecimal digits: the question with its bytes escaped, seconds,
/// server, port.
///
/// `dd` puts the question together again, because bash writes what `printf` prints line by line.
const ASK: &str = r#"{
  printf %b "$1" | dd bs=512 count=1 iflag=fullblock 2>/dev/null >&3
  timeout "$2" dd bs=4096 count=1 2>/dev/null <&3 | od -An -v -tx1 | tr -d ' \n'
} 3<>"/dev/udp/$3/$4""#;

fn script(question: &[u8], server: SocketAddr, seconds: u64) -> Script {
    let mut escaped = String::new();
    for byte in question {
        let _ = write!(escaped, "\\x{byte:02x}");
    }
    Script::new(ASK).arg(escaped).arg(seconds).arg(server.ip()).arg(server.port())
}

/// Asks a name server by UDP out of a container.
pub(crate) async fn ask_from(
    shell: &mut Shell,
    pod: &str,
    server: IpAddr,
    id: u16,
    name: &Name,
    record_type: RecordType,
) -> Result<Answer, AskError> {
    let question = question(id, name, record_type).map_err(|e| AskError::broken(pod, e))?;
    let output = shell.run(&script(&question, (server, 53).into(), 2), ANSWER + OPEN).await?;
    let digits = output.text.trim();
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()))
        .collect();
    match bytes {
        Some(bytes) if !bytes.is_empty() => read_answer(id, &bytes)
            .map_err(|e| AskError::broken(pod, FailedAt::new(format!("name server {server}"), e))),
        _ => Err(AskError::broken(
            pod,
            format!("name server {server} did not answer by UDP within 2 s{}", {
                let said = digits.lines().next().unwrap_or_default();
                if said.is_empty() { String::new() } else { format!(" ({said})") }
            }),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearwater::dns::answer::Code;

    #[test]
    fn a_question_is_written_as_rfc_1035_has_it() {
        let bytes = question(0x0a0a, &"a.example".parse().unwrap(), RecordType::Srv).unwrap();
        let expected = b"\x0a\x0a\x01\x00\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x21\0\x01";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_answer_of_another_question_is_refused() {
        let bytes = question(7, &"a.example".parse().unwrap(), RecordType::A).unwrap();
        assert!(read_answer(8, &bytes).unwrap_err().to_string().contains("question 7"));
        let answer = read_answer(7, &bytes).unwrap();
        assert_eq!((answer.code, answer.records.is_empty(), answer.negative_ttl), (Code::NoError, true, None));
        assert!(read_answer(7, b"\0").is_err());
    }

    /// The line is run by this machine's own bash against a server that knows one name.
    #[tokio::test]
    async fn bash_asks_by_udp_whatever_bytes_the_question_holds() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = server.local_addr().unwrap();
        // Ten is the length of a label that bash would break the datagram at.
        let name: Name = "abcdefghij.example".parse().unwrap();
        let question = question(0x0a00, &name, RecordType::A).unwrap();
        let line = script(&question, at, 5).line().unwrap();
        let asked = tokio::process::Command::new("bash").args(["-c", &line]).kill_on_drop(true).output();
        let answering = async {
            let mut buffer = [0; 512];
            let (n, from) = server.recv_from(&mut buffer).await.unwrap();
            let mut reply = buffer[..n].to_vec();
            reply[2] |= 0x80;
            reply[7] = 1;
            reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\x01\x02\x03");
            server.send_to(&reply, from).await.unwrap();
            n
        };
        let (output, n) = timeout(Duration::from_secs(10), async { tokio::join!(asked, answering) }).await.unwrap();
        assert_eq!(n, question.len());
        let digits = String::from_utf8(output.unwrap().stdout).unwrap();
        let bytes: Vec<u8> =
            (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect();
        let answer = read_answer(0x0a00, &bytes).unwrap();
        assert_eq!(answer.say(&name, RecordType::A), "10.1.2.3");
    }
}
