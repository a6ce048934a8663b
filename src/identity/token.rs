//! A token: what a reply of a token service must say to be one, and how long it lives.

use std::borrow::Cow;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::Key;
use crate::identity::choice::Guid;
use crate::identity::date;
use crate::json;
use crate::model::moment::Moment;
use crate::model::secret::SecretBytes;

/// No token lives longer.
const LIFE: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A token, and until when it is one. Debug shows its length and nothing else of it.
#[derive(Debug)]
pub struct Token {
    secret: SecretBytes,
    expires: Moment,
    renew: Moment,
    client_id: Option<Guid>,
    serial: u64,
}

/// How a reply differs from one that holds a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoSense(pub &'static str);

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    access_token: &'a RawValue,
    #[serde(borrow)]
    token_type: Cow<'a, str>,
    #[serde(borrow)]
    resource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_on: Option<&'a RawValue>,
    #[serde(borrow)]
    not_before: Option<&'a RawValue>,
}

impl Token {
    /// Reads the body of a 200. `asked` is when the question left, from where the token's life
    /// counts; `date` is when the server says that it answered.
    pub(crate) fn read(
        body: &[u8],
        resource: &str,
        asked: Moment,
        date: Option<SystemTime>,
    ) -> Result<Self, NoSense> {
        let reply: Reply<'_> = json::object(body).ok_or(NoSense("the reply holds no token"))?;
        if !reply.token_type.eq_ignore_ascii_case("bearer") {
            return Err(NoSense("the token is of another type than Bearer"));
        }
        // Azure Arc has the field, and nothing in it.
        let named = reply.resource.as_deref().filter(|named| !named.is_empty());
        if named.is_some_and(|named| !same(named, resource)) {
            return Err(NoSense("the token is for another resource"));
        }
        let secret = json::secret(reply.access_token);
        let secret = secret.ok_or(NoSense("the token is no text"))?;
        let life = life(&reply, date).ok_or(NoSense("the token's life is no number of seconds"))?;
        let client_id = reply.client_id.and_then(|id| Guid::parse(&id));
        Ok(Self { client_id, ..Self::of(secret, asked, life)? })
    }

    /// A token that lives so long from `asked` on.
    pub(crate) fn of(secret: SecretBytes, asked: Moment, life: Duration) -> Result<Self, NoSense> {
        if !Key::fits(&secret) {
            return Err(NoSense("the token is empty, too long, or no plain text"));
        }
        if life.is_zero() || life > LIFE {
            return Err(NoSense("the token's life is absurd"));
        }
        Ok(Self {
            secret,
            expires: asked + life,
            renew: asked + life / 2,
            client_id: None,
            serial: 0,
        })
    }

    /// The token, as one of a row.
    pub(crate) fn numbered(self, serial: u64) -> Self {
        Self { serial, ..self }
    }

    /// The token itself.
    #[must_use]
    pub const fn secret(&self) -> &SecretBytes {
        &self.secret
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> Moment {
        self.expires
    }

    /// When half of its life is over.
    #[must_use]
    pub const fn renew(&self) -> Moment {
        self.renew
    }

    /// Whose it is, if the reply said so.
    #[must_use]
    pub const fn client_id(&self) -> Option<&Guid> {
        self.client_id.as_ref()
    }

    /// Which of a row it is.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }
}

/// How long the token lives from the moment of the answer. `expires_in` says it outright; without
/// it the end is taken against the server's own clock, never this machine's. Where the server shows
/// none, the token is asked for again soon.
fn life(reply: &Reply<'_>, date: Option<SystemTime>) -> Option<Duration> {
    let outright = reply.expires_in.filter(|raw| !bare(raw).is_empty());
    let span = match (outright, reply.expires_on) {
        (Some(raw), _) => number(raw)?,
        (None, None) => return None,
        (None, Some(raw)) => {
            let end = number(raw).or_else(|| date::seconds(&bare(raw)))?;
            let now = date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok());
            let now = now.and_then(|now| i64::try_from(now.as_secs()).ok());
            match now.or_else(|| reply.not_before.and_then(number)) {
                // No end of a token lies so far back: it is a span, and has been seen.
                _ if end < EARLIEST => end,
                Some(now) => end.checked_sub(now)?,
                None => UNKNOWN,
            }
        }
    };
    Some(Duration::from_secs(u64::try_from(span).unwrap_or(0)))
}

/// How many seconds a token is used whose life cannot be told. The services hand out none that
/// ends sooner.
const UNKNOWN: i64 = 5 * 60;

/// A whole number of seconds, bare or in quotes: the services write it both ways.
fn number(raw: &RawValue) -> Option<i64> {
    bare(raw).parse().ok()
}

/// What is in the quotes, if there are any. Some services write even a plus as an escape.
fn bare(raw: &RawValue) -> Cow<'_, str> {
    let text: Option<String> = serde_json::from_str(raw.get()).ok();
    text.map_or(Cow::Borrowed(raw.get()), Cow::Owned)
}

/// The year 2001, before which nobody issued tokens.
const EARLIEST: i64 = 978_307_200;

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::proptest;

    use super::*;

    const CANARY: &str = "kanarienvogelimbergwerk";

    fn reply() -> Vec<u8> {
        let life = r#""expires_in":"7200","expires_on":"1712165071","not_before":"1712078371""#;
        format!(
            r#"{{"access_token":"{CANARY}","client_id":"0F0E0d0c-1111-2222-3333-444455556666",{life},"resource":"https://vault.azure.net","token_type":"Bearer"}}"#
        )
        .into_bytes()
    }

    fn read(body: &[u8]) -> Result<Token, NoSense> {
        let asked = Moment::after_boot(Duration::from_secs(100));
        Token::read(body, "https://vault.azure.net", asked, None)
    }

    #[test]
    fn a_token_lives_from_when_it_was_asked_for_and_is_renewed_half_way() {
        let token = read(&reply()).unwrap();
        assert_eq!(token.secret().expose(), CANARY.as_bytes());
        assert_eq!(token.expires(), Moment::after_boot(Duration::from_secs(7300)));
        assert_eq!(token.renew(), Moment::after_boot(Duration::from_secs(3700)));
        let id = token.client_id().unwrap();
        assert_eq!(id.as_str(), "0f0e0d0c-1111-2222-3333-444455556666");
    }

    fn life_of(fields: &str, date: Option<u64>) -> Option<Duration> {
        let body = format!(r#"{{"access_token":"t","token_type":"Bearer",{fields}}}"#);
        let asked = Moment::after_boot(Duration::from_secs(100));
        let date = date.map(|second| SystemTime::UNIX_EPOCH + Duration::from_secs(second));
        let token = Token::read(body.as_bytes(), "https://vault.azure.net", asked, date).ok()?;
        Some(token.expires().since(asked))
    }

    #[test]
    fn a_life_is_read_however_it_is_written() {
        for fields in [
            r#""expires_in":3600"#,
            r#""expires_in":"3600""#,
            r#""expires_in":"","expires_on":1700003600"#,
            r#""expires_in":null,"expires_on":"1700003600""#,
            r#""expires_on":3600"#,
            r#""expires_on":"2023-11-14T23:13:20Z""#,
        ] {
            let life = life_of(fields, Some(1_700_000_000));
            assert_eq!(life, Some(Duration::from_secs(3600)), "{fields}");
        }
        for fields in [
            r#""expires_in":"soon""#,
            r#""expires_in":[],"expires_on":1700003600"#,
            r#""expires_in":3600.75"#,
            r#""expires_in":"3600.0","expires_on":"1700003600""#,
            r#""expires_on":1700003600.25"#,
            r#""expires_in":"36e2""#,
            r#""expires_in":true"#,
            r#""expires_in":0.5"#,
            r#""expires_in":-3600"#,
            r#""expires_on":1699999999"#,
            r#""expires_on":"soon""#,
            r#""client_id":"x""#,
        ] {
            assert_eq!(life_of(fields, Some(1_700_000_000)), None, "{fields}");
        }
    }

    /// What a server without a clock says would have to be taken against this machine's.
    #[test]
    fn a_token_of_a_server_that_shows_no_clock_is_used_for_a_while() {
        let end = r#""expires_on":1700003600"#;
        assert_eq!(life_of(end, None), Some(Duration::from_secs(300)));
        let both = r#""expires_on":1700003600,"not_before":"1700000000""#;
        assert_eq!(life_of(both, None), Some(Duration::from_secs(3600)));
        assert_eq!(life_of(r#""expires_on":"3600""#, None), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", read(&reply()).unwrap()).contains(CANARY));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_reply_is_read_or_refused_and_never_repeated(
            at in any::<proptest::sample::Index>(),
            cut in 0..12_usize,
            junk in r#"["\\{}\[\]:,a-z0-9\x00-\x1f]{0,6}"#,
        ) {
            let mut body = reply();
            let at = at.index(body.len());
            let end = (at + cut).min(body.len());
            body.splice(at..end, junk.bytes());
            let shown = format!("{:?}", read(&body));
            let silent = !CANARY.as_bytes().windows(8).any(|window| {
                shown.as_bytes().windows(8).any(|shown| shown == window)
            });
            assert!(silent, "{shown}");
        }
    }
}
