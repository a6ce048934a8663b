//! The Key Vault dialect: where a vault is, what it is asked, and what its answers mean.

pub mod cloud;

pub mod address;

pub mod request;
pub mod response;

pub mod challenge;
pub mod problem;

pub mod client;
