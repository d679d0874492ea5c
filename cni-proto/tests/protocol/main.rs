//! The protocol as a runtime sees it: environment and input in, output and exit code out.

mod call;
mod environment;
mod input;
mod output;
mod spec;
mod version;
