//! Builds, tests and shows the project; installs what they need.

fn main() {}
