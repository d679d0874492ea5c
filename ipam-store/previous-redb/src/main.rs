//! `previous-redb DIRECTORY NAME CYCLES`: adds and deletes on the store in a directory.

#[path = "../../tests/hammer/mod.rs"]
mod hammer;

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, name, cycles] = arguments.as_slice() else {
        return Err("previous-redb DIRECTORY NAME CYCLES".into());
    };
    let cycles = cycles.parse().map_err(|error| format!("{cycles}: {error}"))?;
    hammer::hammer(directory.as_ref(), name, cycles)
}
