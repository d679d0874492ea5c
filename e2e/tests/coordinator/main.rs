//! The coordinator as a program in namespaces: what it makes, repairs, takes back and leaves alone.
//! As root. The pods' NICs are macvlan links in the place of ipvlan ones, which this program never
//! looks at closer, so that any kernel will do; what travels is for `service`.

mod again;
mod ending;
mod explained;
mod failing;
mod leftovers;
mod many;
mod others;
mod overlay;
mod room;
mod several;
mod state;
mod upkeep;
