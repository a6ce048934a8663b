//! The dialect of 2017: Azure ML's numbers, or the dates of App Service before 2019.

use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::clock;
use crate::dialect::Dialect;
use crate::dialect::is_shown;
use crate::dialect::issue;
use crate::dialect::only;
use crate::state::State;

pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    only(state, asked, number, &["api-version", "resource", "clientid"], &["secret"]);
    if asked.method != "GET" || asked.path != "/msi/token" {
        return Answer::bare(404);
    }
    if !is_shown(Dialect::AzureMl, "secret", state, asked, number) {
        return Answer::bare(401);
    }
    let version = asked.one("api-version");
    let (Some("2017-09-01"), Some(resource)) = (version.as_deref(), asked.one("resource")) else {
        return Answer::bare(500);
    };
    let chosen = match asked.one("clientid") {
        None => state.machine.system.clone(),
        Some(id) => state.machine.find("client_id", &id).cloned(),
    };
    let Some(identity) = chosen else {
        let body = json!({ "statusCode": 400, "message": "No Managed Identity found." });
        return Answer::json(400, body.to_string());
    };
    let issued = issue(state, &identity, &resource, number);
    let body = if state.doors.writes_dates {
        json!({
            "access_token": issued.text,
            "expires_on": clock::american(issued.expires),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": identity.client_id,
        })
    } else {
        json!({
            "access_token": issued.text,
            "expires_in": issued.seconds,
            "expires_on": issued.expires,
            "resource": resource,
            "token_type": "Bearer",
        })
    };
    Answer::json(200, body.to_string())
}
