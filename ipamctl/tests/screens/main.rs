//! The screens of the tool, and what it does by hand, upon a store where every state is there.

mod answers;
mod choices;
mod exits;
mod fixture;
mod hands;
mod hostile;
mod lists;
mod manuals;
mod maps;
mod metadata;
mod stories;
mod waiting;
mod watching;
