//! What can go wrong on demand: a scope, a number of times, and what happens.
//!
//! A fault is of one request; how whole connections are greeted is apart. Faults are tried in the order in which they were injected. Every delay and hold that matches is
//! waited for; of the others, rewrites add up and the first of the rest decides the answer.

use std::time::Duration;

use serde::Deserialize;

/// One fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests meet it.
    pub scope: Scope,
    /// How many of them; all until it is cleared, if there is no number.
    #[serde(default)]
    pub times: Option<u32>,
    /// Which of those that could meet it do: every so-manieth, and the first not; all, if there is
    /// no number.
    #[serde(default)]
    pub every: Option<u32>,
    /// What happens to them.
    pub kind: Kind,
}

/// Which requests meet a fault.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Requests for a token.
    Token,
    /// Requests to Entra.
    Entra,
    /// Requests for the value of any secret.
    Get,
    /// Requests for the value of this one, in any case.
    GetOf(String),
    /// Requests for a page of the list.
    List,
    /// Requests to the metadata service that are not for a token.
    Metadata,
    /// Every request to a vault.
    Vault,
    /// Every request.
    Everything,
}

/// What happens to a request that meets a fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This status, with this body and these headers beside the usual ones.
    Status {
        /// The status code.
        code: u16,
        /// The body; an empty one has no content type.
        #[serde(default)]
        body: String,
        /// More headers. A `content-type` here replaces the JSON one.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// The usual answer, so many milliseconds later.
    Delay(#[serde(deserialize_with = "milliseconds")] Duration),
    /// The usual answer, once the fault is cleared.
    Hold,
    /// No answer, ever, on a connection that stays.
    Hang,
    /// The connection is reset.
    Reset,
    /// The connection is closed in good order, without an answer.
    Close,
    /// 200 with this body.
    Body(String),
    /// The usual answer, its length promised in full, its second half never sent.
    Truncated,
    /// The first half of the usual answer, and then the connection is reset.
    Torn,
    /// The usual answer, a byte at a time, with so many milliseconds before each.
    Drip(#[serde(deserialize_with = "milliseconds")] Duration),
    /// 200 and a chunked body of blanks that has no end: a kilobyte every so many milliseconds.
    Endless(#[serde(deserialize_with = "milliseconds")] Duration),
    /// The usual answer, if it is a JSON object, with this field in it.
    Field {
        /// Its name.
        name: String,
        /// Its value, as it stands in JSON; none takes the field away.
        json: Option<String>,
    },
    /// This status with this Location.
    Redirect {
        /// 301 to 308.
        code: u16,
        /// Where to.
        location: String,
    },
    /// 401 with this WWW-Authenticate header.
    Challenge(String),
    /// The usual page with this nextLink.
    NextLink(String),
    /// The usual bundle with this id; `{version}` stands for the version's.
    Id(String),
}

impl Fault {
    /// A fault that stays until it is cleared.
    #[must_use]
    pub const fn always(scope: Scope, kind: Kind) -> Self {
        Self { scope, times: None, every: None, kind }
    }

    /// A fault that the next `times` requests meet.
    #[must_use]
    pub const fn times(times: u32, scope: Scope, kind: Kind) -> Self {
        Self { scope, times: Some(times), every: None, kind }
    }

    /// A fault that every so-manieth request meets until it is cleared.
    #[must_use]
    pub const fn every(every: u32, scope: Scope, kind: Kind) -> Self {
        Self { scope, times: None, every: Some(every), kind }
    }
}

impl Scope {
    /// Requests for the value of the secret of that name.
    #[must_use]
    pub fn get_of(name: &str) -> Self {
        Self::GetOf(name.to_owned())
    }
}

impl Kind {
    /// This status with an error of the vault's shape, without a Retry-After.
    #[must_use]
    pub fn status(code: u16) -> Self {
        let (name, message) = match code {
            429 => (
                "Throttled",
                "Request was not processed because too many requests were received. \
                 Reason: VaultRequestTypeLimitReached",
            ),
            503 => ("ServiceUnavailable", "The service is unavailable."),
            _ => ("InternalServerError", "An unexpected error occurred."),
        };
        Self::Status {
            code,
            body: format!(r#"{{"error":{{"code":"{name}","message":"{message}"}}}}"#),
            headers: Vec::new(),
        }
    }

    /// 429 with this Retry-After.
    #[must_use]
    pub fn throttled(retry_after: &str) -> Self {
        let retry_after = ("Retry-After".to_owned(), retry_after.to_owned());
        let mut throttled = Self::status(429);
        if let Self::Status { headers, .. } = &mut throttled {
            headers.push(retry_after);
        }
        throttled
    }

    /// This status with a page for people.
    #[must_use]
    pub fn html(code: u16) -> Self {
        Self::Status {
            code,
            body: "<!DOCTYPE html>\r\n<html><head><title>Runtime Error</title></head></html>\r\n"
                .to_owned(),
            headers: vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())],
        }
    }
}

/// A fault in force.
#[derive(Debug)]
pub(crate) struct Injected {
    pub(crate) id: FaultId,
    pub(crate) fault: Fault,
    /// How many requests could have met it.
    met: u32,
}

impl Injected {
    pub(crate) const fn new(id: FaultId, fault: Fault) -> Self {
        Self { id, fault, met: 0 }
    }

    /// Whether it is the turn of a request that meets its scope.
    fn turn(&mut self) -> bool {
        self.met = self.met.wrapping_add(1);
        self.fault.every.is_none_or(|every| self.met.is_multiple_of(every.max(1)))
    }
}

/// How those are received who connect.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Greeting {
    /// They are served.
    #[default]
    Serve,
    /// Their connection is reset.
    Reset,
    /// Their connection stays, and they hear nothing on it.
    Silence,
}

/// The name of a fault in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FaultId(pub u64);

/// What the faults that a request met make of it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) holds: Vec<FaultId>,
    pub(crate) next_link: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) fields: Vec<(String, Option<String>)>,
    pub(crate) instead: Option<Kind>,
}

impl Plan {
    /// Takes from the faults in force what they hold for a request which `meets` their scope.
    pub(crate) fn draw(faults: &mut Vec<Injected>, meets: impl Fn(&Scope) -> bool) -> Self {
        let mut plan = Self::default();
        for injected in faults.iter_mut() {
            let decides = !matches!(
                injected.fault.kind,
                Kind::Delay(_) | Kind::Hold | Kind::NextLink(_) | Kind::Id(_) | Kind::Field { .. }
            );
            if !meets(&injected.fault.scope)
                || injected.fault.times == Some(0)
                || (decides && plan.instead.is_some())
                || !injected.turn()
            {
                continue;
            }
            let Injected { id, fault, .. } = injected;
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            match &fault.kind {
                Kind::Delay(time) => plan.delay += *time,
                Kind::Hold => plan.holds.push(*id),
                Kind::NextLink(link) => plan.next_link = Some(link.clone()),
                Kind::Id(text) => plan.id = Some(text.clone()),
                Kind::Field { name, json } => plan.fields.push((name.clone(), json.clone())),
                Kind::Status { .. }
                | Kind::Hang
                | Kind::Reset
                | Kind::Close
                | Kind::Body(_)
                | Kind::Truncated
                | Kind::Torn
                | Kind::Drip(_)
                | Kind::Endless(_)
                | Kind::Redirect { .. }
                | Kind::Challenge(_) => plan.instead = Some(fault.kind.clone()),
            }
        }
        // A hold that is used up stays in force: clearing it is what releases its requests.
        faults.retain(|injected| {
            injected.fault.times != Some(0) || matches!(injected.fault.kind, Kind::Hold)
        });
        plan
    }
}

fn milliseconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
