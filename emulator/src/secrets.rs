//! The Key Vault dialect: who may ask what, and how the service says it.

use serde_json::Value;
use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::clock;
use crate::fault::Plan;
use crate::identity::Identity;
use crate::identity::SUBSCRIPTION;
use crate::identity::TENANT;
use crate::pages;
use crate::record::Credential;
use crate::state::State;
use crate::vault::Operation;
use crate::vault::Refusal;
use crate::vault::Store;
use crate::vault::Version;

/// Answers a request to a vault.
pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64, plan: &Plan) -> Answer {
    let request_id = guid(&state.hex());
    let answer = match authenticate(state, asked, number) {
        Ok(caller) => match state.vault_of(asked) {
            Some(store) => authorized(store, asked, &caller, plan),
            None => Answer::json(404, "{}".to_owned()),
        },
        Err(refused) => refused,
    };
    let mut answer = answer.with("x-ms-request-id", request_id);
    if let Some(id) = asked.header("x-ms-client-request-id") {
        answer = answer.with("x-ms-client-request-id", id);
    }
    HEADERS.iter().fold(answer, |answer, (name, value)| answer.with(name, *value))
}

/// 401 with that challenge, in the words for a request without a token.
pub(crate) fn challenge(challenge: String) -> Answer {
    unauthorized("AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token.", challenge)
}

/// `https://` and the host as the ids in an answer have it.
pub(crate) fn origin(store: &Store, asked: &Asked) -> String {
    // A vault that is reached as localhost keeps the port: nothing else would lead back to it.
    match asked.bare_host() == store.host {
        true => format!("https://{}", store.host),
        false => format!("https://{}", asked.host),
    }
}

/// The attributes of a version, in the service's order.
pub(crate) fn attributes(version: &Version) -> String {
    let mut text = format!(r#"{{"enabled":{}"#, version.enabled);
    for (name, time) in [("nbf", version.nbf), ("exp", version.exp)] {
        if let Some(time) = time {
            text += &format!(r#","{name}":{time}"#);
        }
    }
    let Version { created, updated, .. } = version;
    text += &format!(r#","created":{created},"updated":{updated}"#);
    text + r#","recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}"#
}

/// What follows the value in a bundle, and is all there is in an item of a list.
pub(crate) fn describe(version: &Version, id: &str) -> String {
    let mut text = String::new();
    if let Some(content_type) = &version.content_type {
        text += &format!(r#""contentType":{},"#, Value::from(content_type.as_str()));
    }
    text += &format!(r#""id":{}"#, Value::from(id));
    if version.managed {
        text += r#","managed":true"#;
    }
    text += &format!(r#","attributes":{}"#, attributes(version));
    if let Some(tags) = &version.tags {
        text += &format!(r#","tags":{}"#, json!(tags));
    }
    text
}

/// The 400 for a parameter that makes no sense.
pub(crate) fn bad_parameter(message: &str) -> Answer {
    Answer::vault_error(400, "BadParameter", message, None)
}

fn authenticate(state: &mut State, asked: &Asked, number: u64) -> Result<Identity, Answer> {
    let Some(store) = state.vault_of(asked) else {
        return Err(Answer::json(404, "{}".to_owned()));
    };
    let resource = store.resource();
    let host = store.host.clone();
    let ours =
        format!(r#"Bearer authorization="{}/{TENANT}", resource="{resource}""#, store.authority());
    let token = match state.machine.credential(asked.authorization.as_deref()) {
        Credential::Token(token) => state.machine.token(token),
        Credential::Absent | Credential::Unknown => None,
    };
    let Some(token) = token else {
        return Err(match &asked.authorization {
            Some(text) if text.starts_with("Bearer ") => {
                unauthorized("Error validating token: 'S2S12086'.", ours)
            }
            Some(_) | None => challenge(ours),
        });
    };
    if token.resource != resource {
        let found = token.resource.clone();
        state.violate(number, format!("a token for {found} reached {host}"));
        let message = format!("AKV10022: Invalid audience. Expected {resource}, found: {found}.");
        return Err(unauthorized(&message, ours));
    }
    if token.expires <= clock::now() {
        let message = "[TokenExpired] Error validating token: 'S2S12086'.";
        return Err(unauthorized(message, ours));
    }
    Ok(token.identity.clone())
}

fn unauthorized(message: &str, challenge: String) -> Answer {
    Answer::vault_error(401, "Unauthorized", message, None).with("WWW-Authenticate", challenge)
}

fn authorized(store: &Store, asked: &Asked, caller: &Identity, plan: &Plan) -> Answer {
    let version = asked.one("api-version").unwrap_or_default();
    if !API_VERSIONS.contains(&version.as_str()) {
        return bad_parameter(&format!(
            "The specified version ({version}) is not recognized. Consider using the latest \
             supported version (2025-07-01)."
        ));
    }
    if asked.path.contains("%25") {
        // The web server in front of the service stops this one.
        let page = "<!DOCTYPE html>\r\n<html><head><title>Runtime Error</title></head></html>\r\n";
        return Answer::new(400, "text/html; charset=utf-8", page.to_owned());
    }
    if asked.method != "GET" {
        return not_permitted();
    }
    match asked.segments().as_slice() {
        ["secrets"] => match refused(store, caller, Operation::List, "") {
            Some(refused) => refused,
            None => pages::secrets(store, asked, plan),
        },
        ["secrets", name, rest @ ..] if !is_name(name) || rest.len() > 1 => {
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            bad_parameter(&format!("The request URI contains an invalid name: {name}"))
        }
        ["secrets", name, "versions"] => match refused(store, caller, Operation::List, name) {
            Some(refused) => refused,
            None => pages::versions(store, asked, name),
        },
        ["secrets", name, rest @ ..] => match refused(store, caller, Operation::Get, name) {
            Some(refused) => refused,
            None => bundle(store, asked, name, rest.first().copied(), plan),
        },
        // Keys, certificates, deleted secrets: nobody here has a right to any of them.
        _ => not_permitted(),
    }
}

fn bundle(store: &Store, asked: &Asked, name: &str, wanted: Option<&str>, plan: &Plan) -> Answer {
    let secret = store.secret(name);
    let version = secret.and_then(|secret| match wanted {
        Some(id) => secret.versions.iter().find(|version| version.id == id),
        None => secret.versions.last(),
    });
    let (Some(secret), Some(version)) = (secret, version) else {
        let asked_for = match wanted {
            Some(version) => format!("{name}/{version}"),
            None => name.to_owned(),
        };
        return Answer::vault_error(404, "SecretNotFound", &not_found(&asked_for), None);
    };
    if !version.enabled {
        let message = "Operation get is not allowed on a disabled secret.";
        return Answer::vault_error(403, "Forbidden", message, Some("SecretDisabled"));
    }
    let id = match &plan.id {
        Some(id) => id.replace("{version}", &version.id),
        None => format!("{}/secrets/{}/{}", origin(store, asked), secret.name, version.id),
    };
    let rest = describe(version, &id);
    Answer::json(200, format!(r#"{{"value":{},{rest}}}"#, version.value))
}

fn not_found(what: &str) -> String {
    format!(
        "A secret with (name/id) {what} was not found in this key vault. If you recently deleted \
         this secret you may be able to recover it using the correct recovery command. For help \
         resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
    )
}

fn not_permitted() -> Answer {
    let message = "Operation is not permitted on this object.";
    Answer::vault_error(403, "Forbidden", message, Some("AccessDenied"))
}

fn refused(store: &Store, caller: &Identity, operation: Operation, name: &str) -> Option<Answer> {
    let refusal = store.refusal(&caller.client_id, operation, name)?;
    let (verb, action) = match operation {
        Operation::Get => ("get", "getSecret/action"),
        Operation::List => ("list", "readMetadata/action"),
    };
    let vault = store.name();
    let issuer = format!("https://sts.windows.net/{TENANT}/");
    let who = format!("appid={};oid={};iss={issuer}", caller.client_id, caller.object_id);
    let place = format!("{vault};location=westeurope");
    let policy = || {
        format!(
            "The user, group or application '{who}' does not have secrets {verb} permission on \
             key vault '{place}'. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125287"
        )
    };
    let (code, message) = match refusal {
        Refusal::Policy => ("ForbiddenByPolicy", policy()),
        Refusal::AccessDenied => ("AccessDenied", policy()),
        Refusal::Rbac => (
            "ForbiddenByRbac",
            format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, \
                 deny assignments or role definitions were changed recently, please observe \
                 propagation time.\r\nCaller: {who}\r\nAction: \
                 'Microsoft.KeyVault/vaults/secrets/{action}'\r\nResource: \
                 '/subscriptions/{SUBSCRIPTION}/resourcegroups/emulated/providers/\
                 microsoft.keyvault/vaults/{vault}/secrets/{name}'\r\nAssignment: (not \
                 found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \
                 \r\nVault: {place}\r\n"
            ),
        ),
        Refusal::Firewall => (
            "ForbiddenByFirewall",
            format!(
                "Client address is not authorized and caller is not a trusted service.\r\nClient \
                 address: 192.0.2.1\r\nCaller: {who}\r\nVault: {place}"
            ),
        ),
        Refusal::Connection => (
            "ForbiddenByConnection",
            format!(
                "Public network access is disabled and request is not from a trusted service nor \
                 via an approved private link.\r\nCaller: {who}\r\nVault: {place}"
            ),
        ),
    };
    Some(Answer::vault_error(403, "Forbidden", &message, Some(code)))
}

fn is_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn guid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let (a, b, c, d, e) = (part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32));
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// The versions of the protocol that have been seen to be answered.
const API_VERSIONS: [&str; 14] = [
    "2015-06-01",
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-03-01-preview",
];

/// What every answer of a vault carries.
const HEADERS: [(&str, &str); 8] = [
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Expires", "-1"),
    ("Strict-Transport-Security", "max-age=31536000;includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=192.0.2.1;act_addr_fam=InterNetwork;"),
    ("x-ms-keyvault-region", "westeurope"),
    ("x-ms-keyvault-service-version", "1.9.3070.1"),
];
