//! Measured rows, each beside its goal.

use std::io;
use std::io::Write;

/// Rows as they come: what was measured, the figure, the goal, and whether it is reached.
#[derive(Debug, Default)]
pub(crate) struct Board {
    missed: usize,
}

impl Board {
    /// Writes a heading.
    pub(crate) fn title(&self, text: &str) {
        line(&format!("\n{text}"));
    }

    /// Writes a row whose figure is to be no more than the goal.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, goal: f64, unit: &str, detail: &str) {
        let verdict = if figure <= goal { "ok" } else { "MISSED" };
        self.missed += usize::from(figure > goal);
        let (figure, goal) = (plain(figure), plain(goal));
        line(&format!("  {what:<58} {figure:>7}{unit} (<= {goal}{unit}) {verdict:<6} {detail}"));
    }

    /// How many goals were missed.
    pub(crate) fn missed(&self) -> usize {
        self.missed
    }
}

/// Writes a line. Where nobody reads, nobody misses it.
pub(crate) fn line(text: &str) {
    let _nobody = writeln!(io::stdout().lock(), "{text}");
}

fn plain(figure: f64) -> String {
    match figure.fract() == 0.0 {
        true => format!("{figure:.0}"),
        false if figure < 10.0 => format!("{figure:.3}"),
        false => format!("{figure:.1}"),
    }
}
