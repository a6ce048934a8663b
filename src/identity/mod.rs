//! Who we are, and the tokens that prove it.

pub mod choice;

pub mod token;

pub mod no_token;

pub mod imds;

pub mod tokens;
