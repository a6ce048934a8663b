//! Who we are, and the tokens that prove it.

pub mod choice;
pub mod kind;

pub mod endpoint;
pub mod surroundings;

pub mod detect;
pub mod taken;

mod date;
pub mod token;

pub mod no_token;

pub mod arc_key;
mod token_service;

mod app_service;
mod arc;
mod azure_ml;
mod cloud_shell;
mod imds;
mod service_fabric;

pub mod source;

pub mod certificate;

mod assertion;
mod pkcs12;
mod unlock;

pub mod tokens;
