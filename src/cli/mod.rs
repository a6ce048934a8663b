//! The command line: what was typed, what it means, and one file for each command.

pub mod program;
pub mod progress;

pub mod option;
pub mod options;
pub mod spelling;

pub mod grammar;
pub mod mount_options;
pub mod runtime;
pub mod settings;

pub mod arguments;

pub mod environment;
pub mod owner;
pub mod selinux;
pub mod trusted;
pub mod values;

pub mod from;
pub mod own_cloud;

pub mod access;
pub mod brief;
pub mod config;
pub mod config_file;
pub mod file_tables;
pub mod toml_values;

pub mod get;
pub mod list;
pub mod manual;
pub mod mount;
pub mod refresh;
pub mod status;
pub mod unmount;
pub mod watch;
pub mod worker;

pub mod patience;
pub mod reach;
pub mod verbosity;

pub mod complaint;
pub mod output;
