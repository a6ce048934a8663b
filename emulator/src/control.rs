//! The control interface: what the handles can do, for a person with curl.
//!
//! `POST /put {"name": "x", "value": "y"}`, likewise `disable`, `enable`, `delete`, `recover`,
//! `purge`, `deny` and `allow`; `POST /fault`, `POST /clear`; `GET /requests`, `GET /violations`.
//! It has no password: it belongs on loopback, and what is behind it is make-believe.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::answer::Answer;
use crate::fault::Fault;
use crate::fault::FaultId;
use crate::fault::Injected;
use crate::state::Shared;
use crate::vault::Refusal;
use crate::vault::Vault;

/// Answers a request to the control interface.
pub(crate) async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else {
        return wrong("the body did not arrive");
    };
    let body = body.to_bytes();
    match (method, path.as_str()) {
        (Method::GET, "/requests") => {
            found(shared.with(|state| serde_json::to_value(&state.requests)))
        }
        (Method::GET, "/violations") => {
            found(shared.with(|state| serde_json::to_value(&state.violations)))
        }
        (Method::POST, "/fault") => match serde_json::from_slice(&body) {
            Ok(fault) => inject(shared, fault),
            Err(error) => wrong(&error.to_string()),
        },
        (Method::POST, "/clear") => clear(shared, &body),
        (Method::POST, verb) => match serde_json::from_slice(&body) {
            Ok(order) => obey(shared, verb, order),
            Err(error) => wrong(&error.to_string()),
        },
        (_, path) => Answer::json(404, json!({ "error": format!("no {path} here") }).to_string()),
    }
}

/// What is to be done to a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The first vault, if there is none.
    vault: Option<String>,
    /// `*` for all, where that makes sense.
    name: String,
    value: Option<String>,
    #[serde(default)]
    kind: Refusal,
}

fn obey(shared: &Arc<Shared>, verb: &str, order: Order) -> Answer {
    let host = shared.with(|state| match &order.vault {
        Some(name) => state.vault_mut(&crate::vault::host_of(name)).map(|vault| vault.host.clone()),
        None => state.vaults.first().map(|vault| vault.host.clone()),
    });
    let Some(host) = host else {
        return wrong("there is no such vault");
    };
    let vault = Vault { shared: Arc::clone(shared), host, identity: None };
    let name = order.name.as_str();
    let done = match verb {
        "/put" => {
            let Some(value) = &order.value else {
                return wrong("put takes a value");
            };
            return done(json!({ "version": vault.put(name, value) }));
        }
        "/disable" => vault.disable(name),
        "/enable" => vault.enable(name),
        "/delete" => vault.delete(name),
        "/recover" => vault.recover(name),
        "/purge" => vault.purge(name),
        "/deny" => {
            vault.deny_get(name, order.kind);
            true
        }
        "/allow" => {
            vault.allow_get(name);
            true
        }
        _ => {
            return Answer::json(404, json!({ "error": format!("no {verb} here") }).to_string());
        }
    };
    match done {
        true => self::done(json!({})),
        false => wrong("there is no such secret"),
    }
}

fn inject(shared: &Shared, fault: Fault) -> Answer {
    let FaultId(id) = shared.with(|state| {
        let id = state.next_fault();
        state.faults.push(Injected::new(id, fault));
        id
    });
    done(json!({ "fault": id }))
}

/// Ends the fault that the body names, or all.
fn clear(shared: &Shared, body: &[u8]) -> Answer {
    let named: Option<Value> = serde_json::from_slice(body).ok();
    let named = named.as_ref().and_then(|named| named.get("fault")?.as_u64());
    shared.clear(|FaultId(id)| named.is_none_or(|named| named == id));
    done(json!({}))
}

fn found(list: serde_json::Result<Value>) -> Answer {
    match list {
        Ok(list) => done(list),
        Err(error) => wrong(&error.to_string()),
    }
}

fn done(answer: Value) -> Answer {
    Answer::json(200, format!("{answer}\n"))
}

fn wrong(why: &str) -> Answer {
    Answer::json(400, format!("{}\n", json!({ "error": why })))
}
