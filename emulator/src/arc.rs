//! The dialect of the Azure Arc agent: a key in a file, shown back at once.

use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::asked::TOKEN_PATH;
use crate::dialect::issue;
use crate::dialect::only;
use crate::state::State;

pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    only(state, asked, number, &["api-version", "resource"], &["metadata"]);
    if asked.method != "GET" || asked.path != TOKEN_PATH {
        return Answer::bare(404);
    }
    if asked.header("metadata") != Some("true") {
        return refused(400, "invalid_request", "Required metadata header not specified");
    }
    if asked.one("api-version").as_deref() != Some("2020-06-01") {
        return refused(400, "invalid_request", "The api-version is not supported");
    }
    let Some(resource) = asked.one("resource") else {
        return refused(400, "invalid_request", "resource is missing");
    };
    let Some(shown) = &asked.authorization else {
        return challenge(state);
    };
    let shown = shown.strip_prefix("Basic ").unwrap_or_default();
    // Each is good once, and only the last.
    let last = state.doors.keys.pop();
    state.doors.keys.clear();
    if last.as_deref() != Some(shown) {
        state.violate(number, format!("{} was shown what is not its last key", asked.path));
        return refused(401, "unauthorized_client", "The key is not the one that was asked for");
    }
    let Some(identity) = state.machine.system.clone() else {
        return refused(400, "invalid_request", "Identity not found");
    };
    let issued = issue(state, &identity, &resource, number);
    let body = json!({
        "access_token": issued.text,
        "refresh_token": "",
        "expires_in": issued.seconds.to_string(),
        "expires_on": issued.expires.to_string(),
        "not_before": issued.now.to_string(),
        "resource": "",
        "token_type": "Bearer",
    });
    Answer::json(200, body.to_string())
}

fn challenge(state: &mut State) -> Answer {
    let key = state.hex();
    state.doors.keys.push(key.clone());
    state.doors.all_keys.push(key.clone());
    let path = state.doors.put_key.as_ref().map(|put| put(&key)).unwrap_or_default();
    let path = state.doors.realm.clone().unwrap_or(path);
    refused(401, "unauthorized_client", "Missing Basic Authorization header")
        .with("WWW-Authenticate", format!("Basic realm={path}"))
}

fn refused(status: u16, error: &str, description: &str) -> Answer {
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [status],
        "timestamp": "2020-11-11 22:38:15.596399013 PLUS0000 UTC",
        "trace_id": "",
        "correlation_id": "e0000000-0000-4000-8000-000000000001",
    });
    // The agent writes even a plus as an escape.
    Answer::json(status, body.to_string().replace("PLUS", r"\u002B"))
}
