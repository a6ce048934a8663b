//! Who we are, and the tokens that prove it.

pub mod choice;
pub mod kind;
pub mod tenant;
pub mod wish;

pub mod endpoint;
pub mod surroundings;

mod credentials;
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
pub mod imds;
pub mod machine;
mod service_fabric;

mod pkcs12;
mod unlock;

mod assertion;
pub mod certificate;

pub mod azure_cli;
pub mod entra;
pub mod from_vault;
pub mod service_principal;
pub mod workload;

pub mod source;

pub mod tokens;
