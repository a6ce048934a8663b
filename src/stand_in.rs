//! A server on loopback for the tests of this package: it says what a test wrote down for it, and
//! counts connections and requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a server heard: the request line and all headers, as they came, and the body.
#[derive(Clone, Debug)]
pub(crate) struct Heard(pub(crate) String);

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes these bytes and waits for the next request.
    Say(Vec<u8>),
    /// Writes these bytes and closes.
    SayAndClose(Vec<u8>),
    /// Waits, then writes.
    SayLater(Duration, Vec<u8>),
    /// Says nothing and keeps the connection.
    Hang,
}

/// A server that stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A certificate authority, for as long as a test runs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

type Script = Arc<dyn Fn(usize, &Heard) -> Act + Send + Sync>;

impl Heard {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body.
    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }
}

impl Server {
    /// A server of plain HTTP. The script is given the number of the request, from 0, and what was
    /// heard.
    pub(crate) async fn plain(
        script: impl Fn(usize, &Heard) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, Arc::new(script)).await
    }

    /// A server behind TLS.
    pub(crate) async fn tls(
        acceptor: TlsAcceptor,
        script: impl Fn(usize, &Heard) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(acceptor), Arc::new(script)).await
    }

    async fn start(tls: Option<TlsAcceptor>, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&heard), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                open.spawn(connection(stream, tls.clone(), Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, heard, connections, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.heard.lock().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    script: Script,
    log: Arc<Mutex<Vec<Heard>>>,
) {
    match tls {
        None => converse(stream, &script, &log).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, &script, &log).await;
            }
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    log: &Mutex<Vec<Heard>>,
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = Heard(String::from_utf8_lossy(&buffer[..end]).into_owned());
        let length = head.header("content-length").map_or(0, |length| length.parse().unwrap());
        let end = end + length;
        while buffer.len() < end {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let heard = Heard(String::from_utf8_lossy(&buffer[..end]).into_owned());
        buffer.drain(..end);
        let number = {
            let mut log = log.lock();
            log.push(heard.clone());
            log.len() - 1
        };
        match script(number, &heard) {
            Act::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::SayAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Act::SayLater(wait, bytes) => {
                tokio::time::sleep(wait).await;
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Act::Hang => std::future::pending().await,
        }
        let _ = stream.flush().await;
    }
}

/// A whole answer; `headers` are lines without their ends.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.push_str(body);
    head.into_bytes()
}

/// A token's reply as the metadata service gives it.
pub(crate) fn token_reply(token: &str, client_id: &str, seconds: u64, resource: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"access_token":"{token}","client_id":"{client_id}","expires_in":"{seconds}","expires_on":"1712165071","ext_expires_in":"86399","not_before":"1712078371","resource":"{resource}","token_type":"Bearer"}}"#
    );
    answer(200, &["content-type: application/json; charset=utf-8"], &body)
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Contoso");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    /// Shows a certificate for these hosts, which ended in 1971 or is good for long.
    pub(crate) fn acceptor(&self, hosts: &[&str], expired: bool) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.server(hosts, expired)))
    }

    /// The same for a server that speaks HTTP/2.
    pub(crate) fn acceptor_h2(&self, hosts: &[&str]) -> TlsAcceptor {
        let mut config = self.server(hosts, false);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn server(&self, hosts: &[&str], expired: bool) -> rustls::ServerConfig {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(1970, 1, 1);
            params.not_after = rcgen::date_time_ymd(1971, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap()
    }
}

/// A certificate that nobody vouches for, by a key of its own.
pub(crate) fn unvouched() -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().der().clone(), key)
}

/// Shows a certificate, and proves it with a key, whether or not it is the certificate's.
pub(crate) fn shows(certificate: &CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = CertifiedKey::new(vec![certificate.clone()], key);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    TlsAcceptor::from(Arc::new(config))
}

/// Waits until something is so, for at most ten seconds.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
