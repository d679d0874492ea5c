//! The screens of the tool, and what it does by hand, upon a store where every state is there.

mod choices;
mod fixture;
mod hands;
mod lists;
mod maps;
mod schemas;
mod stories;
mod watching;
