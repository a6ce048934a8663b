//! An answer before it is put on the wire.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;

/// Status, headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), content_type.to_owned())], body }
    }

    /// No body, and so no content type.
    pub(crate) const fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    /// A body that is JSON, or claims to be.
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self::new(status, JSON, body)
    }

    /// The vault's shape of an error.
    pub(crate) fn vault_error(status: u16, code: &str, message: &str, inner: Option<&str>) -> Self {
        // Written by hand: the service's order of keys is code, message, innererror.
        let message = Value::from(message);
        let inner = inner.map_or_else(String::new, |inner| {
            format!(r#","innererror":{}"#, json!({ "code": inner }))
        });
        Self::json(status, format!(r#"{{"error":{{"code":"{code}","message":{message}{inner}}}}}"#))
    }

    /// The metadata service's shape of an error.
    pub(crate) fn metadata_error(status: u16, error: &str, description: &str) -> Self {
        let body = json!({ "error": error, "error_description": description });
        Self::json(status, body.to_string())
    }

    /// Sets a field of a body that is a JSON object, or takes it away.
    pub(crate) fn set_field(&mut self, name: &str, json: Option<&str>) {
        let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&self.body)
        else {
            return;
        };
        match json.and_then(|json| RawValue::from_string(json.to_owned()).ok()) {
            Some(json) => drop(fields.insert(name.to_owned(), json)),
            None => drop(fields.remove(name)),
        }
        if let Ok(body) = serde_json::to_string(&fields) {
            self.body = body;
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

const JSON: &str = "application/json; charset=utf-8";
