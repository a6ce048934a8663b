//! The dialect of Entra's token endpoint, for principals that speak for themselves.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::clock;
use crate::entra::Principal;
use crate::identity::Token;
use crate::metadata::token_text;
use crate::state::State;

/// Answers a request to a host that issues tokens.
pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    let tenant = match asked.segments().as_slice() {
        [tenant, "oauth2", "v2.0", "token"] => (*tenant).to_owned(),
        _ => return Answer::json(404, "{}".to_owned()),
    };
    let form = "application/x-www-form-urlencoded";
    if asked.method != "POST" || asked.header("content-type") != Some(form) {
        let refusal = Refusal(400, "invalid_request", 900_144, "The request body is no form.");
        return refused(state, &refusal);
    }
    if !asked.query.is_empty() {
        state.violate(number, "a query reached the token endpoint");
    }
    match issue(state, asked, &tenant, number) {
        Ok(answer) => answer,
        Err(refusal) => refused(state, &refusal),
    }
}

/// Status, code, AADSTS number and prose.
struct Refusal(u16, &'static str, u32, &'static str);

fn issue(state: &mut State, asked: &Asked, tenant: &str, number: u64) -> Result<Answer, Refusal> {
    for (name, _) in asked.fields() {
        if !PARAMETERS.contains(&name.as_str()) {
            state.violate(number, format!("the token endpoint knows no parameter {name}"));
        }
    }
    let field = |name| {
        asked.field(name).ok_or(Refusal(
            400,
            "invalid_request",
            900_144,
            "The request body must contain each parameter once.",
        ))
    };
    if !state.directory.principals.iter().any(|it| it.tenant == tenant) {
        return Err(Refusal(400, "invalid_tenant", 90_002, "Tenant not found."));
    }
    if field("grant_type")? != "client_credentials" {
        return Err(Refusal(400, "unsupported_grant_type", 70_003, "The grant is unsupported."));
    }
    let client_id = field("client_id")?;
    let known = |it: &&Principal| it.tenant == tenant && it.identity.client_id == client_id;
    let principal = state.directory.principals.iter().find(known).cloned();
    let principal = principal.ok_or(Refusal(
        400,
        "unauthorized_client",
        700_016,
        "Application was not found in the directory.",
    ))?;
    let scope = field("scope")?;
    let audience = state.audience_at(asked);
    let resource = scope.strip_suffix("/.default").filter(|resource| *resource == audience);
    let Some(resource) = resource else {
        state.violate(number, format!("a token was asked for {scope} at {}", asked.host));
        return Err(Refusal(400, "invalid_resource", 500_011, "The resource was not found."));
    };
    if let Some(secret) = asked.field("client_secret") {
        if asked.field("client_assertion").is_some() || !principal.secrets.contains(&secret) {
            return Err(Refusal(401, "invalid_client", 7_000_215, BAD_SECRET));
        }
    } else {
        if field("client_assertion_type")? != JWT_BEARER {
            return Err(Refusal(400, "invalid_request", 900_144, "No such assertion type."));
        }
        verify(state, &principal, &field("client_assertion")?, asked)?;
    }
    Ok(give(state, &principal, resource))
}

fn give(state: &mut State, principal: &Principal, resource: &str) -> Answer {
    let lifetime = state.directory.lifetime;
    let expires = clock::epoch_seconds() + lifetime.as_secs();
    let text = token_text(&principal.identity, resource, expires, &state.hex());
    state.machine.tokens.push(Token {
        text: text.clone(),
        identity: principal.identity.clone(),
        resource: resource.to_owned(),
        expires: clock::now() + lifetime,
    });
    let seconds = lifetime.as_secs();
    // Here numbers are numbers, and the resource is not repeated.
    let body = json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": text,
    });
    Answer::json(200, body.to_string()).with("Cache-Control", "no-store, no-cache")
}

/// Whether an assertion is the principal's: another issuer's that is known to the letter, or one
/// that its own certificate has signed.
fn verify(
    state: &mut State,
    principal: &Principal,
    assertion: &str,
    asked: &Asked,
) -> Result<(), Refusal> {
    if principal.assertions.iter().any(|known| known == assertion) {
        return Ok(());
    }
    if principal.certificates.is_empty() {
        return Err(Refusal(400, "invalid_request", 70_021, "No matching federated identity."));
    }
    let bad_key = || Refusal(401, "invalid_client", 700_027, BAD_KEY);
    let jwt = Jwt::read(assertion).ok_or_else(bad_key)?;
    let mut certificates = principal.certificates.iter();
    let own = certificates.find(|(der, by_issuer)| jwt.is_by(der, *by_issuer));
    let (der, _) = own.ok_or_else(bad_key)?;
    jwt.verify(der).ok_or_else(bad_key)?;
    let client_id = principal.identity.client_id.as_str();
    let audience = format!("https://{}{}", asked.bare_host(), asked.path);
    let claim = |name| text(&jwt.claims, name);
    if [claim("aud"), claim("iss"), claim("sub")] != [&audience, client_id, client_id] {
        return Err(Refusal(401, "invalid_client", 50_027, "The assertion is another's."));
    }
    let now = state.entra_time();
    let time = |name: &str| jwt.claims.get(name).and_then(Value::as_i64).unwrap_or_default();
    let (from, until) = (time("nbf"), time("exp"));
    if from > now + CLOCKS_DIFFER || until < now - CLOCKS_DIFFER || until - from > LONGEST {
        return Err(Refusal(401, "invalid_client", 700_024, OUT_OF_TIME));
    }
    let id = text(&jwt.claims, "jti").to_owned();
    if id.len() < 16 || state.directory.seen.contains(&id) {
        return Err(Refusal(401, "invalid_client", 50_027, "The assertion was seen before."));
    }
    state.directory.seen.push(id);
    Ok(())
}

/// A JWT, taken apart.
struct Jwt<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
        };
        Some(Self {
            header: part(header)?,
            claims: part(claims)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// Whether its header names that certificate, and sends it along where it must.
    fn is_by(&self, der: &[u8], by_issuer: bool) -> bool {
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, der));
        let sent = self.header.pointer("/x5c/0").and_then(Value::as_str);
        text(&self.header, "alg") == "PS256"
            && text(&self.header, "typ") == "JWT"
            && text(&self.header, "x5t#S256") == thumbprint
            && (sent == Some(&STANDARD.encode(der)) || !by_issuer)
    }

    fn verify(&self, der: &[u8]) -> Option<()> {
        let der = CertificateDer::from(der);
        let certificate = webpki::EndEntityCert::try_from(&der).ok()?;
        let algorithm = webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY;
        certificate.verify_signature(algorithm, self.signed.as_bytes(), &self.signature).ok()
    }
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn refused(state: &mut State, refusal: &Refusal) -> Answer {
    let Refusal(status, code, number, prose) = refusal;
    let mut guid = || {
        let hex = state.hex();
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    };
    let (trace, correlation) = (guid(), guid());
    let time = "2026-01-01 00:00:00Z";
    let description = format!(
        "AADSTS{number}: {prose}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\n\
         Timestamp: {time}"
    );
    let body = json!({
        "error": code,
        "error_description": description,
        "error_codes": [number],
        "timestamp": time,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
    });
    let date = http_date(state.entra_time());
    Answer::json(*status, body.to_string()).with("Date", date).with("x-ms-request-id", trace)
}

/// A time as HTTP writes it.
fn http_date(seconds: i64) -> String {
    let seconds = std::time::Duration::from_secs(seconds.unsigned_abs());
    httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + seconds)
}

const PARAMETERS: [&str; 7] = [
    "client_id",
    "scope",
    "grant_type",
    "client_secret",
    "client_assertion_type",
    "client_assertion",
    "claims",
];
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds.
const CLOCKS_DIFFER: i64 = 300;
const LONGEST: i64 = 600;
const BAD_SECRET: &str = "Invalid client secret provided. Ensure the secret being sent in the \
                          request is the client secret value, not the client secret ID.";
const BAD_KEY: &str =
    "Client assertion contains an invalid signature. [Reason - The key was not found.]";
const OUT_OF_TIME: &str = "Client assertion is not within its valid time range.";
