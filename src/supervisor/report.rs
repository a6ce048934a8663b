//! What worker and supervisor say to each other, one message in one packet.
//!
//! The encoding is fixed and small: a byte that says what follows, numbers in the machine's own
//! order, texts behind their length. What does not fit it is no message.

use std::io;
use std::os::fd::AsFd;

use rustix::io::retry_on_intr;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::recv;
use rustix::net::send;

use crate::model::event::Notice;
use crate::model::name::SecretName;
use crate::model::tree::Node;

/// A line for whoever waits for the mount, with a hint if something can be done about it.
pub type Warning = (String, Option<String>);

/// What the worker says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// It serves from now on.
    Ready {
        /// What the person at the command line should know.
        warnings: Vec<Warning>,
    },
    /// It fetches values before it is ready, and has so many of so many.
    Progress {
        /// Names that were answered.
        done: u64,
        /// All of them; 0 as long as nobody knows.
        total: u64,
    },
    /// It cannot serve, and another try would not help.
    Fatal {
        /// The exit status of the command that mounts.
        code: u8,
        /// What is wrong.
        message: String,
        /// What can be done about it.
        hint: Option<String>,
    },
    /// So many bytes of the arena, from its start, are to be kept in memory.
    Used(u64),
}

/// Something that the worker wants the kernel to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The number under which the outcome is reported back.
    pub serial: u64,
    /// What the kernel is to be told.
    pub notice: Notice,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told {
    /// The order's number.
    pub serial: u64,
    /// The kernel's error, or 0.
    pub errno: i32,
}

/// The longest message. A socket's buffer holds more than that.
const LONGEST: usize = 64 << 10;
/// The longest order: the kind, its number, and a name behind its length.
const LONGEST_ORDER: usize = 256;
/// The longest text, and the most warnings, in a message.
const LONGEST_TEXT: usize = 2 << 10;
const MOST_WARNINGS: usize = 8;

mod tag {
    pub(super) const READY: u8 = 1;
    pub(super) const FATAL: u8 = 2;
    pub(super) const ENTRY: u8 = 3;
    pub(super) const ATTRIBUTES: u8 = 4;
    pub(super) const LISTING: u8 = 5;
    pub(super) const USED: u8 = 6;
    pub(super) const TOLD: u8 = 7;
    pub(super) const PROGRESS: u8 = 8;
}

impl Report {
    /// The message that says this. What is too long for a message is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Writer(Vec::new());
        match self {
            Self::Ready { warnings } => {
                message.byte(tag::READY);
                for (text, hint) in warnings.iter().take(MOST_WARNINGS) {
                    message.text(text);
                    message.hint(hint.as_deref());
                }
            }
            Self::Progress { done, total } => {
                message.byte(tag::PROGRESS);
                message.number(*done);
                message.number(*total);
            }
            Self::Fatal { code, message: text, hint } => {
                message.byte(tag::FATAL);
                message.byte(*code);
                message.text(text);
                message.hint(hint.as_deref());
            }
            Self::Used(bytes) => {
                message.byte(tag::USED);
                message.number(*bytes);
            }
        }
        message.0
    }

    /// What a message says, or `None` if it is none.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let mut message = Reader(message);
        let report = match message.byte()? {
            tag::READY => {
                let mut warnings = Vec::new();
                while !message.0.is_empty() {
                    warnings.push((message.text()?, message.hint()?));
                }
                Self::Ready { warnings }
            }
            tag::PROGRESS => Self::Progress { done: message.number()?, total: message.number()? },
            tag::FATAL => Self::Fatal {
                code: message.byte()?,
                message: message.text()?,
                hint: message.hint()?,
            },
            tag::USED => Self::Used(message.number()?),
            _ => return None,
        };
        message.0.is_empty().then_some(report)
    }

    /// Sends this to the supervisor; waits while its socket is full.
    pub fn send(&self, socket: impl AsFd) -> io::Result<()> {
        let message = self.encode();
        retry_on_intr(|| send(&socket, &message, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Takes the next report from a worker's socket: `None` if there is none, or none that makes
    /// sense, right now.
    #[must_use]
    pub fn receive(socket: impl AsFd) -> Option<Self> {
        let mut buffer = vec![0; LONGEST];
        let (_, length) = recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT).ok()?;
        Self::decode(buffer.get(..length)?)
    }
}

impl Order {
    /// The message that says this.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Writer(Vec::new());
        message.byte(match self.notice {
            Notice::Entry(_) => tag::ENTRY,
            Notice::Attributes(_) => tag::ATTRIBUTES,
            Notice::Listing => tag::LISTING,
        });
        message.number(self.serial);
        match &self.notice {
            Notice::Entry(name) => message.text(name.as_str()),
            Notice::Attributes(node) => message.number(node.0),
            Notice::Listing => {}
        }
        message.0
    }

    /// What a message says, or `None` if it is none.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let mut message = Reader(message);
        let kind = message.byte()?;
        let serial = message.number()?;
        let notice = match kind {
            tag::ENTRY => Notice::Entry(SecretName::parse(&message.text()?)?),
            tag::ATTRIBUTES => Notice::Attributes(Node(message.number()?)),
            tag::LISTING => Notice::Listing,
            _ => return None,
        };
        message.0.is_empty().then_some(Self { serial, notice })
    }

    /// Sends this to the supervisor; waits while its socket is full.
    pub fn send(&self, socket: impl AsFd) -> io::Result<()> {
        retry_on_intr(|| send(&socket, &self.encode(), SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Sends this to the supervisor, if that can be at once.
    pub fn try_send(&self, socket: impl AsFd) -> io::Result<()> {
        send(&socket, &self.encode(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Waits for the next order of a worker. `None` once its socket is shut.
    #[must_use]
    pub fn receive(socket: impl AsFd) -> Option<Self> {
        let mut buffer = [0; LONGEST_ORDER];
        loop {
            let received = retry_on_intr(|| recv(&socket, &mut buffer, RecvFlags::empty()));
            let (_, length) = received.ok().filter(|(_, length)| *length > 0)?;
            // What makes no sense is no order.
            if let Some(order) = buffer.get(..length).and_then(Self::decode) {
                return Some(order);
            }
        }
    }
}

impl Told {
    /// The message that says this.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut message = Writer(Vec::new());
        message.byte(tag::TOLD);
        message.number(self.serial);
        message.number(u64::from(self.errno.unsigned_abs()));
        message.0
    }

    /// What a message says, or `None` if it is none.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let mut message = Reader(message);
        let is_told = message.byte()? == tag::TOLD;
        let told =
            Self { serial: message.number()?, errno: i32::try_from(message.number()?).ok()? };
        (is_told && message.0.is_empty()).then_some(told)
    }

    /// Waits for the next outcome on the worker's end of the socket.
    pub fn receive(socket: impl AsFd) -> io::Result<Self> {
        let mut buffer = [0; 64];
        let (_, length) = retry_on_intr(|| recv(&socket, &mut buffer, RecvFlags::empty()))?;
        let told = buffer.get(..length).and_then(Self::decode);
        told.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_ne_bytes());
    }

    fn text(&mut self, text: &str) {
        let mut length = text.len().min(LONGEST_TEXT);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        let text = text.get(..length).unwrap_or_default();
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    /// An empty hint is none.
    fn hint(&mut self, hint: Option<&str>) {
        self.text(hint.unwrap_or_default());
    }
}

struct Reader<'m>(&'m [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*bytes))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(bytes.to_vec()).ok()
    }

    fn hint(&mut self) -> Option<Option<String>> {
        self.text().map(|hint| (!hint.is_empty()).then_some(hint))
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::AddressFamily;
    use rustix::net::Shutdown;
    use rustix::net::SocketFlags;
    use rustix::net::SocketType;
    use rustix::net::shutdown;
    use rustix::net::socketpair;

    use super::*;

    fn reports() -> Vec<Report> {
        let warnings = vec![("a".to_owned(), None), (String::new(), Some("b".to_owned()))];
        vec![
            Report::Ready { warnings: Vec::new() },
            Report::Ready { warnings },
            Report::Fatal { code: 32, message: "no".to_owned(), hint: Some("so".to_owned()) },
            Report::Fatal { code: 0, message: String::new(), hint: None },
            Report::Used(1 << 40),
        ]
    }

    fn orders() -> [Order; 4] {
        let [short, long] = ["f", &"x".repeat(127)].map(|name| SecretName::parse(name).unwrap());
        [
            Order { serial: 1, notice: Notice::Entry(short) },
            Order { serial: 0, notice: Notice::Entry(long) },
            Order { serial: u64::MAX, notice: Notice::Attributes(Node(7)) },
            Order { serial: 0, notice: Notice::Listing },
        ]
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        for report in reports() {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        for order in orders() {
            assert!(order.encode().len() <= LONGEST_ORDER);
            assert_eq!(Order::decode(&order.encode()), Some(order));
        }
        let told = Told { serial: 5, errno: 2 };
        assert_eq!(Told::decode(&told.encode()), Some(told));
    }

    #[test]
    fn an_order_is_sent_at_once_or_not_and_heard_until_the_socket_is_shut() {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
        let mut sent = Vec::new();
        let error = loop {
            let order = Order { serial: sent.len() as u64, notice: Notice::Listing };
            match order.try_send(&theirs) {
                Ok(()) => sent.push(order),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        for order in sent {
            assert_eq!(Order::receive(&ours), Some(order));
        }
        send(&theirs, b"nonsense", SendFlags::NOSIGNAL).unwrap();
        let [order, ..] = orders();
        order.send(&theirs).unwrap();
        // What was sent before is carried out all the same.
        shutdown(&ours, Shutdown::Both).unwrap();
        assert_eq!(Order::receive(&ours), Some(order));
        assert_eq!(Order::receive(&ours), None);
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_none() {
        for report in reports() {
            let mut message = report.encode();
            message.push(0);
            assert_eq!(Report::decode(&message), None, "{report:?}");
            for length in 0..message.len() - 1 {
                let cut = Report::decode(&message[..length]);
                // A list that ends earlier is a shorter list.
                let is_shorter = matches!(cut, Some(Report::Ready { .. }));
                assert!(cut.is_none() || is_shorter, "{report:?} cut at {length}: {cut:?}");
            }
        }
        for order in orders() {
            let mut message = order.encode();
            message.push(0);
            assert_eq!(Order::decode(&message), None, "{order:?}");
            for length in 0..message.len() - 1 {
                assert_eq!(Order::decode(&message[..length]), None, "{order:?} cut at {length}");
            }
        }
        assert_eq!(Report::decode(&[99]), None);
        assert_eq!(Told::decode(&Report::Used(3).encode()), None);
    }

    #[test]
    fn a_name_that_no_secret_can_have_never_reaches_the_kernel() {
        let mut message = vec![tag::ENTRY];
        message.extend(1_u64.to_ne_bytes());
        message.extend(2_u64.to_ne_bytes());
        message.extend(b"..");
        assert_eq!(Order::decode(&message), None);
    }

    #[test]
    fn a_text_beyond_all_measure_is_cut_at_a_letter() {
        let long = format!("x{}", "\u{e9}".repeat(LONGEST));
        let warnings = vec![(long.clone(), Some(long)); 99];
        let message = Report::Ready { warnings }.encode();
        assert!(message.len() <= LONGEST);
        let Some(Report::Ready { warnings }) = Report::decode(&message) else {
            panic!("{} bytes are no message", message.len());
        };
        assert_eq!((warnings.len(), warnings[0].0.len()), (MOST_WARNINGS, LONGEST_TEXT - 1));
    }
}
