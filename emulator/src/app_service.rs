//! The dialect of App Service since 2019.

use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::dialect::Dialect;
use crate::dialect::is_shown;
use crate::dialect::issue;
use crate::dialect::only;
use crate::state::State;

pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    let names = ["api-version", "resource", "client_id", "object_id", "mi_res_id"];
    // Automation wants the second.
    only(state, asked, number, &names, &["x-identity-header", "metadata"]);
    if asked.method != "GET" || asked.path != "/msi/token" {
        return Answer::bare(404);
    }
    if !is_shown(Dialect::AppService, "x-identity-header", state, asked, number) {
        return Answer::bare(401);
    }
    if asked.one("api-version").as_deref() != Some("2019-08-01") {
        return refused("The api-version is not supported.");
    }
    let Some(resource) = asked.one("resource") else {
        return Answer::bare(500);
    };
    let selectors =
        asked.pairs().into_iter().filter(|(name, _)| names[2..].contains(&name.as_str()));
    let selectors: Vec<(String, String)> = selectors.collect();
    let chosen = match selectors.as_slice() {
        [] => state.machine.system.clone(),
        [(name, value)] => state.machine.find(name, value).cloned(),
        _ => return refused("Only one identity may be named."),
    };
    let Some(identity) = chosen else {
        return refused("Unable to load the proper Managed Identity.");
    };
    let issued = issue(state, &identity, &resource, number);
    let body = json!({
        "access_token": issued.text,
        "expires_on": issued.expires.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": identity.client_id,
    });
    Answer::json(200, body.to_string())
}

fn refused(message: &str) -> Answer {
    let correlation = "bf000000-0000-4000-8000-000000000001";
    let body = json!({ "statusCode": 400, "message": message, "correlationId": correlation });
    Answer::json(400, body.to_string())
}
