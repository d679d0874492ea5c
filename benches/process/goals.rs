//! What was promised, and what came out.

use crate::markdown::table;

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
        let verdict = if is_met { "met" } else { "**missed**" };
        self.0.push(vec![goal.to_owned(), bar.to_owned(), figure, verdict.to_owned()]);
    }

    pub(crate) fn table(&self) -> String {
        table(&["goal", "bar", "measured", ""], &self.0)
    }
}
