//! The plan of every kind of pod, line by line, and what packets find after it.

mod configuration;
mod overlay;
mod pods;
mod records;
mod refusals;
mod several_nics;
mod twice;
mod underlay;
mod world;
