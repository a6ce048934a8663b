//! The dialect of a Service Fabric cluster, which is asked over TLS.

use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::asked::TOKEN_PATH;
use crate::dialect::Dialect;
use crate::dialect::is_shown;
use crate::dialect::issue;
use crate::dialect::only;
use crate::state::State;

pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    only(state, asked, number, &["api-version", "resource"], &["secret"]);
    if asked.method != "GET" || asked.path != TOKEN_PATH {
        return Answer::bare(404);
    }
    if asked.one("api-version").as_deref() != Some("2019-07-01-preview") {
        return refused(400, "InvalidApiVersion");
    }
    if !is_shown(Dialect::ServiceFabric, "secret", state, asked, number) {
        return refused(401, "SecretHeaderNotFound");
    }
    let Some(resource) = asked.one("resource") else {
        return refused(400, "ArgumentNullOrEmpty");
    };
    let Some(identity) = state.machine.system.clone() else {
        return refused(404, "ManagedIdentityNotFound");
    };
    let issued = issue(state, &identity, &resource, number);
    let body = json!({
        "token_type": "Bearer",
        "access_token": issued.text,
        "expires_on": issued.expires,
        "resource": resource,
    });
    Answer::json(200, body.to_string())
}

fn refused(status: u16, code: &str) -> Answer {
    let correlation = "5f000000-0000-4000-8000-000000000001";
    let error = json!({ "correlationId": correlation, "code": code, "message": "See the code." });
    Answer::json(status, json!({ "error": error }).to_string())
}
