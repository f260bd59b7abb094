//! What `doctor` reports.

use std::fmt;

use serde::Serialize;

use super::fault::{Code, Fault};

/// What was checked, what was not, and what is wrong.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of this program.
    pub(super) version: &'static str,
    pub(super) checked: Checked,
    pub(super) skipped: Vec<Skipped>,
    pub(super) faults: Vec<Fault>,
}

/// The numbers of things that were checked.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) tables: usize,
    pub(super) users: usize,
    pub(super) claims: usize,
    pub(super) deleted_users: usize,
    pub(super) histories: usize,
}

/// A check that was not made.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) check: String,
    /// Why, as the end of a sentence.
    pub(super) reason: String,
}

impl Report {
    /// A report in which nothing is checked yet.
    pub(super) fn new() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            checked: Checked::default(),
            skipped: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Adds a check that was not made.
    pub(super) fn skip(&mut self, check: impl Into<String>, reason: impl Into<String>) {
        let (check, reason) = (check.into(), reason.into());
        let is_known = |skipped: &Skipped| skipped.check == check && skipped.reason == reason;
        if !self.skipped.iter().any(is_known) {
            self.skipped.push(Skipped { check, reason });
        }
    }

    /// Takes out the faults that the options say to ignore.
    pub(super) fn ignore(&mut self, codes: &[Code]) {
        let faults = std::mem::take(&mut self.faults);
        for fault in faults {
            if codes.contains(&fault.code) {
                let table = fault.table.map(|table| format!(" of {table}"));
                let check = format!("{}{}", fault.code.name(), table.unwrap_or_default());
                self.skip(check, "it was found, and --ignore names it");
            } else {
                self.faults.push(fault);
            }
        }
    }
}

/// The report for the person at the terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            let table = fault.table.as_ref();
            let table = table
                .map(|table| format!(" in {table}"))
                .unwrap_or_default();
            writeln!(f, "{}{table}: {}", fault.code.name(), fault.message)?;
            if !fault.users.is_empty() {
                let shown = fault.users.len();
                let which = match fault.count {
                    Some(count) if count > shown => format!("The first {shown}"),
                    Some(_) | None => "Users".to_owned(),
                };
                writeln!(f, "  {which}: {}", fault.users.join(", "))?;
            }
            writeln!(f, "  Remedy: {}\n", fault.remedy)?;
        }
        for Skipped { check, reason } in &self.skipped {
            writeln!(f, "Not checked: {check}: {reason}.")?;
        }
        let Checked {
            tables,
            users,
            claims,
            deleted_users,
            histories,
        } = &self.checked;
        write!(
            f,
            "Checked: tables {tables}, users {users}, claims {claims}, histories {histories}, deleted \
             users {deleted_users}. Faults: {}.",
            self.faults.len()
        )
    }
}
