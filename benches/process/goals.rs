//! What was promised, and what came out.

use crate::markdown::table;

/// Why a goal whose name begins so is missed, where that is known.
const REASONS: [(&str, &str); 12] = [
    (
        "bytes of file a lease",
        "container id, pod name and uid, path of the namespace and two indexes are some 450 bytes, \
         and the file grows by doubling; the goal was set with 115 bytes a record",
    ),
    ("size of ipamctl", "the argument parser and YAML"),
    ("size of cni-ipam", "the group commit added 0.1 MB, logs, durations and pins as much again"),
    ("whole ADD, IPv6", "upstream waits 1.6 s for DAD; what is left is the emulated kernel's work"),
    ("whole DEL, IPv6", "upstream's DEL waits for nothing either"),
    ("decide", "the vectors and the set of what is given are on the heap"),
    (
        "RSS of an ADD",
        "the library reads the state of its page allocator, which grows with the file",
    ),
    (
        "ADD, 64 at once",
        "all start at the same moment on two cores, and the groups are served one after the other",
    ),
    (
        "ADD/s, 64 at once",
        "sixty-four starts of a process on two cores take longer than the groups' commits",
    ),
    (
        "ADD, ",
        "a commit writes 14 pages of seven tables and their indexes, the prototype that set the goal wrote one table",
    ),
    (
        "syncs, ADD that does not grow",
        "one ADD in 256 looks for dead holders too, a decision of its own with two more",
    ),
    ("size of cni-ipvlan", "netlink messages of every kind, of which it sends a few"),
];

/// The table of goals.
#[derive(Debug, Default)]
pub(crate) struct Goals(Vec<Vec<String>>);

impl Goals {
    /// A figure that must be no larger than its bar.
    pub(crate) fn at_most(&mut self, goal: &str, bar: f64, figure: f64, unit: &str) {
        self.judge(goal, &format!("≤ {bar}{unit}"), figure <= bar, figure, unit);
    }

    /// A figure that must be no smaller than its bar.
    pub(crate) fn at_least(&mut self, goal: &str, bar: f64, figure: f64, unit: &str) {
        self.judge(goal, &format!("≥ {bar}{unit}"), figure >= bar, figure, unit);
    }

    fn judge(&mut self, goal: &str, bar: &str, is_met: bool, figure: f64, unit: &str) {
        let figure = if figure != 0.0 && figure.abs() < 0.1 {
            format!("{figure:.4}{unit}")
        } else if figure.fract() == 0.0 {
            format!("{figure:.0}{unit}")
        } else {
            format!("{figure:.2}{unit}")
        };
        let reason = REASONS.iter().find(|(start, _)| goal.starts_with(start));
        let verdict = match (is_met, reason) {
            (true, _) => "met".to_owned(),
            (false, None) => "**missed**".to_owned(),
            (false, Some((_, reason))) => format!("**missed**: {reason}"),
        };
        self.0.push(vec![goal.to_owned(), bar.to_owned(), figure, verdict]);
    }

    pub(crate) fn table(&self) -> String {
        table(&["goal", "bar", "measured", ""], &self.0)
    }
}
