//! Shows how much of a table has been walked.

use std::io::{Write, stderr};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// The number of items between two lines of progress.
const ITEMS_PER_LINE: u64 = 1_000;

/// Shows progress on the standard error. On a terminal, it is a bar, which disappears at the end.
/// Elsewhere, it is a line for each 1,000 items.
pub(super) struct Progress {
    bar: ProgressBar,
    /// The name of the items, in the plural.
    what: &'static str,
}

impl Progress {
    pub(super) fn start(what: &'static str, count_about: Option<u64>) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, about {eta} to go");
        let bar = ProgressBar::new(count_about.unwrap_or_default())
            .with_style(style.expect("the template is valid"))
            .with_message(what)
            .with_finish(ProgressFinish::AndClear);
        bar.tick();
        Self { bar, what }
    }

    /// Counts this many items.
    pub(super) fn advance(&self, items: usize) {
        let before = self.bar.position() / ITEMS_PER_LINE;
        self.bar.inc(u64::try_from(items).unwrap_or_default());
        let walked = self.bar.position();
        if self.bar.is_hidden() && walked / ITEMS_PER_LINE > before {
            let what = self.what;
            let about = match self.bar.length() {
                Some(about) if about >= walked => format!(" of about {about}"),
                Some(_) | None => String::new(),
            };
            // A failure to write is ignored, because nobody may be reading.
            let _ = writeln!(stderr(), "Walked {walked} {what}{about}");
        }
    }
}
