//! The dialect of Cloud Shell.

use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::dialect::issue;
use crate::dialect::only;
use crate::identity::Identity;
use crate::state::State;

pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    only(state, asked, number, &[], &["content-length", "content-type", "metadata"]);
    if asked.method != "POST" || asked.path != "/oauth2/token" {
        return Answer::bare(404);
    }
    let form = Some("application/x-www-form-urlencoded");
    if asked.header("metadata") != Some("true") || asked.header("content-type") != form {
        return refused("BadRequest", "The request is no form, or lacks the header Metadata.");
    }
    let fields = asked.fields();
    let [(name, resource)] = fields.as_slice() else {
        state.violate(number, format!("{} was posted {} fields", asked.path, fields.len()));
        return refused("BadRequest", "One field was expected.");
    };
    if name != "resource" || !resource.starts_with("https://vault.") {
        return refused(
            "AudienceNotSupported",
            &format!("Audience {resource} is not a supported MSI token audience."),
        );
    }
    // Whoever opened the shell.
    let user = Identity::numbered(0xc5);
    let issued = issue(state, &user, resource, number);
    let body = json!({
        "access_token": issued.text,
        "refresh_token": "",
        "expires_in": issued.seconds.to_string(),
        "expires_on": issued.expires.to_string(),
        "not_before": issued.now.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    Answer::json(200, body.to_string())
}

fn refused(code: &str, message: &str) -> Answer {
    let body = json!({ "error": { "code": code, "message": message } });
    Answer::json(400, body.to_string())
}
