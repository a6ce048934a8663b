//! The dialect of the instance metadata service: tokens, and what the machine is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::asked::TOKEN_PATH;
use crate::dialect::Issued;
use crate::dialect::dated;
use crate::dialect::issue;
use crate::identity::Identity;
use crate::identity::Machine;
use crate::identity::SUBSCRIPTION;
use crate::identity::TENANT;
use crate::state::State;

/// Answers a request to the metadata service.
pub(crate) fn answer(state: &mut State, asked: &Asked, number: u64) -> Answer {
    let answer = match gate(asked) {
        Some(refused) => refused,
        None => match asked.segments().as_slice() {
            _ if asked.path == TOKEN_PATH => {
                token(state, asked, number).unwrap_or_else(|refused| refused)
            }
            ["metadata", "identity", "info"] => {
                Answer::json(200, json!({ "tenantId": TENANT }).to_string())
            }
            ["metadata", "versions"] => {
                Answer::json(200, json!({ "apiVersions": API_VERSIONS }).to_string())
            }
            ["metadata", "instance", rest @ ..] => instance(&state.machine, asked, rest),
            _ => Answer::json(404, json!({ "error": "Not found" }).to_string()),
        },
    };
    dated(state, answer).with("Server", "IMDS/150.870.65.1475")
}

/// What is refused whatever was asked.
fn gate(asked: &Asked) -> Option<Answer> {
    if asked.method != "GET" {
        let body = json!({ "error": "Method Not Allowed" }).to_string();
        return Some(Answer::json(405, body));
    }
    if asked.header("metadata") != Some("true") {
        return Some(invalid("Required metadata header not specified"));
    }
    if asked.header("x-forwarded-for").is_some() {
        return Some(invalid("Requests through a proxy are not served"));
    }
    if asked.has_duplicates() {
        return Some(invalid("Duplicate query parameters are not supported"));
    }
    let version = asked.one("api-version").unwrap_or_default();
    let versioned = asked.path != "/metadata/versions";
    if versioned && !API_VERSIONS.contains(&version.as_str()) {
        let body = json!({
            "error": "Bad request. api-version is invalid or was not specified in the request. \
                      For more information refer to aka.ms/azureimds",
            "newest-versions": ["2023-11-15", "2023-07-01", "2021-12-13"],
        });
        return Some(Answer::json(400, body.to_string()));
    }
    None
}

fn token(state: &mut State, asked: &Asked, number: u64) -> Result<Answer, Answer> {
    let Some(resource) = asked.one("resource") else {
        return Err(invalid("Required query variable 'resource' is missing"));
    };
    let audience = resource.strip_suffix('/').unwrap_or(&resource);
    if !AUDIENCES.contains(&audience) {
        state.violate(number, format!("a token was asked for {resource}"));
        let description = format!(
            "AADSTS50001: The application named {resource} was not found in the tenant. This can \
             happen if the application has not been installed by the administrator of the tenant."
        );
        return Err(Answer::metadata_error(400, "invalid_resource", &description));
    }
    let identity = choose(&state.machine, asked)?.clone();
    let Issued { text, seconds, now, expires } = issue(state, &identity, &resource, number);
    // Every value is a string, numbers included.
    let body = json!({
        "access_token": text,
        "client_id": identity.client_id,
        "expires_in": seconds.to_string(),
        "expires_on": expires.to_string(),
        "ext_expires_in": seconds.max(A_DAY).to_string(),
        "not_before": now.saturating_sub(CLOCKS_DIFFER).to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    Ok(Answer::json(200, body.to_string()))
}

/// The identity that the query selects.
fn choose<'a>(machine: &'a Machine, asked: &Asked) -> Result<&'a Identity, Answer> {
    let mut selectors =
        asked.pairs().into_iter().filter(|(name, _)| SELECTORS.contains(&name.as_str()));
    let selector = selectors.next();
    if selectors.next().is_some() {
        return Err(invalid("Only one of client_id, object_id and msi_res_id may be specified"));
    }
    let Some((name, value)) = selector else {
        return match (&machine.system, machine.users.as_slice()) {
            (Some(system), _) => Ok(system),
            (None, [only]) => Ok(only),
            (None, []) => Err(invalid("Identity not found")),
            (None, _) => Err(invalid(SEVERAL)),
        };
    };
    machine.find(&name, &value).ok_or_else(|| invalid("Identity not found"))
}

fn instance(machine: &Machine, asked: &Asked, path: &[&str]) -> Answer {
    let all = describe(machine);
    let mut node = Some(&all);
    for part in path {
        node = node.and_then(|node| match node {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            Value::Object(fields) => fields.get(*part),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        });
    }
    let text = asked.one("format").is_some_and(|format| format == "text");
    match (node, text) {
        (None, _) => Answer::json(404, json!({ "error": "Not found" }).to_string()),
        (Some(Value::String(leaf)), true) => {
            Answer::new(200, "text/plain; charset=utf-8", leaf.clone())
        }
        (Some(Value::String(_)), false) => Answer::json(
            400,
            json!({ "error": "Bad request. A leaf is given with format=text only" }).to_string(),
        ),
        (Some(branch), _) => Answer::json(200, branch.to_string()),
    }
}

fn describe(machine: &Machine) -> Value {
    let tags: Vec<String> =
        machine.tags.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let tags_list: Vec<Value> =
        machine.tags.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "compute": {
            "azEnvironment": machine.environment,
            "customData": "",
            "isHostCompatibilityLayerVm": "false",
            "location": "westeurope",
            "name": "emulated",
            "osType": "Linux",
            "provider": "Microsoft.Compute",
            "resourceGroupName": "emulated",
            "resourceId": format!(
                "/subscriptions/{SUBSCRIPTION}/resourceGroups/emulated/providers/\
                 Microsoft.Compute/virtualMachines/emulated"
            ),
            "subscriptionId": SUBSCRIPTION,
            "tags": tags.join(";"),
            "tagsList": tags_list,
            "vmId": "f0000000-0000-4000-8000-000000000001",
            "vmScaleSetName": "",
            "vmSize": "Standard_B1s",
            "zone": "1",
        },
        "network": { "interface": [{
            "ipv4": {
                "ipAddress": [{ "privateIpAddress": "10.0.0.4", "publicIpAddress": "" }],
                "subnet": [{ "address": "10.0.0.0", "prefix": "24" }],
            },
            "ipv6": { "ipAddress": [] },
            "macAddress": "000D3A000001",
        }] },
    })
}

/// Three parts with dots between, as a client that looked inside would expect them.
pub(crate) fn token_text(
    identity: &Identity,
    resource: &str,
    expires: u64,
    signature: &str,
) -> String {
    let header = json!({ "typ": "JWT", "alg": "RS256" });
    let claims = json!({
        "aud": resource,
        "iss": format!("https://sts.windows.net/{TENANT}/"),
        "exp": expires,
        "appid": identity.client_id,
        "oid": identity.object_id,
        "tid": TENANT,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(&header), part(&claims))
}

fn invalid(description: &str) -> Answer {
    Answer::metadata_error(400, "invalid_request", description)
}

const SEVERAL: &str = "Multiple user assigned identities exist, please specify the clientId / \
                       resourceId of the identity in the token request";

/// `mi_res_id` is another service's spelling; this one has been seen to take it.
const SELECTORS: [&str; 4] = ["client_id", "object_id", "msi_res_id", "mi_res_id"];

/// What tokens are given for.
const AUDIENCES: [&str; 7] = [
    "https://vault.azure.net",
    "https://vault.usgovcloudapi.net",
    "https://vault.azure.cn",
    // A cloud of somebody's own.
    "https://vault.stack.example",
    "https://management.azure.com",
    "https://storage.azure.com",
    "https://graph.microsoft.com",
];

const API_VERSIONS: [&str; 10] = [
    "2018-02-01",
    "2018-10-01",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2020-06-01",
    "2021-01-01",
    "2021-02-01",
    "2021-12-13",
    "2023-11-15",
];

const A_DAY: u64 = 86_399;

/// Seconds for which a token is valid before it was issued.
const CLOCKS_DIFFER: u64 = 300;
