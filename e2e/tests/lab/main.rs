//! The lab itself, on any kernel: it needs root, but neither ipvlan nor the project's plugins.

mod life;
mod vpc;
